"""A transcode shares its steps: what its row tells at the end follows from theirs. The steps here are scripted; real ones are in test_transcode."""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from packager.errors import EncodeFailed
from packager.passthrough import NOT_PASSABLE
from packager.steps import Step
from streamer import db
from streamer.config import Config
from streamer.ingest import encode, transcode
from streamer.jobs import jobs, steps, urgency
from streamer.jobs.errors import TaskFailed
from streamer.jobs.runner import Outcome, Task, perform
from streamer.jobs.tables import Job
from streamer.jobs.urgency import Length
from streamer.services import Services
from tests.streamer.ingest.test_transcode import asset, upload
from tests.streamer.site_under_test import Site
from tests.streamer.stack import make_config

RUNS = [Step("chunk", number, number, ("v360",)) for number in range(3)]
PLAN: Any = SimpleNamespace(version="v1", duration=Fraction(30))


@pytest.fixture
def config(tmp_path: Any, database_url: str, redis_url: str) -> Config:
    return make_config(
        tmp_path, database=database_url, redis=redis_url, jobs={"backoff_s": 0.0}, ingest={"min_free_bytes": 0}
    )


class Script:
    """What happens instead of an encode, and what was seen of it."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.told: list[tuple[int, float]] = []
        self.damaged: int | None = None
        self.trouble: Callable[[Task, int], None] = lambda task, number: None

    def encode(self, *_: object, crew: Any, **__: object) -> None:
        self.damaged = crew(
            PLAN, "ast_1/v1", RUNS, lambda step, share: self.told.append((step.first, share)), lambda: False
        )
        raise EncodeFailed("enough", "Enough", "All steps are done; the rest is not looked at here.")

    def step(self, task: Task) -> Outcome:
        number = task.claim.payload["first"]
        self.trouble(task, number)
        self.made.append(number)
        return lambda s: steps.record(s, task.claim, damaged=number)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    script = Script()
    monkeypatch.setattr(transcode, "encode", script.encode)
    monkeypatch.setattr(encode, "run", script.step)
    yield script


def transcoded(site: Site) -> Job:
    """The job of a new film after a worker had it in hand."""
    job_id = asset(site, upload(site, b"x" * 100))["job_id"]
    perform(site.services, job_id, "w1")
    return row(site.services, job_id)


def row(services: Services, job_id: str) -> Job:
    with db.reading(services) as s:
        return jobs.get(s, job_id)


def parts(services: Services, job_id: str) -> list[Job]:
    with db.reading(services) as s:
        return list(steps.of(s, job_id))


def test_a_worker_alone_does_all_steps_in_order_and_adds_up_what_was_damaged(site: Site, script: Script) -> None:
    job = transcoded(site)
    assert (script.made, script.damaged) == ([0, 1, 2], 3)
    assert {number for number, share in script.told if share == 1} == {0, 1, 2}
    assert job.error and job.error["code"] == "enough"


def test_a_step_that_fails_is_tried_again_and_then_fails_the_job_with_its_reason(site: Site, script: Script) -> None:
    tries: list[int] = []

    def trouble(task: Task, number: int) -> None:
        if number == 1:
            tries.append(task.claim.attempt)
            raise TaskFailed("broken", "Broken", "It broke.", retryable=True)

    script.trouble = trouble
    job = transcoded(site)
    assert tries == [1, 2, 3, 4, 5]
    assert (job.state, job.error and job.error["code"]) == ("failed", "broken")
    assert [part.state for part in parts(site.services, job.id)].count("failed") == 1
    shown = site.as_("editor").get(f"/jobs/{job.id}").json()["steps"]
    assert {(part["name"], part["state"]) for part in shown} >= {("v1/chunk-00001-00001", "failed")}


def test_a_retry_goes_on_from_the_step_that_failed(site: Site, script: Script) -> None:
    def trouble(task: Task, number: int) -> None:
        if number == 1:
            raise TaskFailed("refused", "Refused", "Not today.", retryable=False)

    script.trouble = trouble
    job = transcoded(site)
    made, script.trouble = list(script.made), lambda task, number: None
    assert site.as_("editor").post(f"/jobs/{job.id}/retry").status_code == 200
    perform(site.services, job.id, "w1")
    assert 0 in made and sorted(script.made) == [0, 1, 2], "nothing is done twice"


def test_a_cancel_reaches_the_step_in_hand(site: Site, script: Script) -> None:
    def trouble(task: Task, number: int) -> None:
        site.as_("editor").post(f"/jobs/{parent(site.services, task)}/cancel")
        while not task.stopped():
            time.sleep(0.01)  # what asks whether it was cancelled is a thread of this process
        raise transcode.TaskStopped

    script.trouble = trouble
    job = transcoded(site)
    assert (job.state, script.made) == ("cancelled", [])
    assert {part.state for part in parts(site.services, job.id)} == {"cancelled"}


def parent(services: Services, task: Task) -> str:
    with db.reading(services) as s:
        return str(jobs.get(s, task.claim.job_id).parent_id)


def test_a_film_makes_way_for_one_of_which_nothing_plays_yet(
    site: Site, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.ingest.crew.PATIENCE_S", 0)

    def trouble(task: Task, number: int) -> None:
        if number == 0:
            upload(site, b"y" * 100)

    script.trouble = trouble
    job = transcoded(site)
    assert (job.state, job.attempt, job.priority, script.made) == ("queued", 1, urgency.rest(0, Length.SHORT), [0])
    perform(site.services, job.id, "w1")
    assert script.made == [0], "still"


def test_a_paused_worker_ends_its_step_and_gives_the_film_back(site: Site, script: Script) -> None:
    script.trouble = lambda task, number: _pause(site)
    job = transcoded(site)
    assert (job.state, script.made) == ("queued", [0])
    listed = site.as_("editor").get("/workers").json()
    assert listed == {"data": [], "paused": ["w1"]}
    assert site.as_("editor").post("/workers/w1/resume").status_code == 200
    script.trouble = lambda task, number: None
    perform(site.services, job.id, "w1")
    assert script.made == [0, 1, 2]


def _pause(site: Site) -> None:
    assert site.as_("editor").post("/workers/w1/pause").status_code == 200


def test_what_cannot_be_passed_through_after_all_stops_the_steps_of_that_plan(site: Site, script: Script) -> None:
    def trouble(task: Task, number: int) -> None:
        raise TaskFailed(NOT_PASSABLE, "Not passable", "On a closer look.", retryable=False)

    script.trouble = trouble
    job = transcoded(site)
    assert {part.state for part in parts(site.services, job.id)} == {"failed", "cancelled"}
