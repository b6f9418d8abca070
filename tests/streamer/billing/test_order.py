"""Whose films are encoded first: jobs as uploads make them, taken from the queues as a worker takes them. The encodes themselves are scripted."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from packager.errors import SourceRefused
from packager.steps import Step
from streamer import db, kv
from streamer.billing import holders, plans
from streamer.ingest import crew, encode, transcode
from streamer.jobs import jobs, queues, runner, steps
from streamer.jobs.runner import Outcome, Task
from streamer.services import Services
from tests.streamer.site_under_test import Site

RUNS = [Step("chunk", number, number, ("v360",)) for number in range(2)]
SECONDS = {"short": 30, "long": 7200}


class Script:
    """Instead of encodes, notes of what began: films are files with their name in them, such as `dear-short`."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.made: list[str] = []

    def encode(self, path: Path, *_: object, crew: Any, **__: object) -> None:
        name = path.read_text()
        self.started += [name] if name not in self.started else []
        plan = SimpleNamespace(version="v1", duration=Fraction(SECONDS[name.split("-")[1]]))
        crew(plan, f"ast/{name}", RUNS, lambda step, share: None, lambda: False)
        raise SourceRefused("enough", "Enough", "All steps are done; the rest is not looked at here.")

    def step(self, task: Task) -> Outcome:
        assert task.claim.payload["prefix"].removeprefix("ast/") in self.started, "a rest before its start"
        assert len(self.started) == 4, "a rest before another film's start"
        self.made.append(task.claim.payload["prefix"].removeprefix("ast/"))
        return lambda s: steps.record(s, task.claim)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    script = Script()
    monkeypatch.setattr(transcode, "encode", script.encode)
    monkeypatch.setattr(encode, "run", script.step)
    monkeypatch.setattr(crew, "PATIENCE_S", 0)
    monkeypatch.setattr(crew, "LOOK_S", 0.05)
    yield script


def work(services: Services) -> None:
    """What a worker does until nothing is left in its queues."""
    connection = kv.open_bytes(services.config.redis, services.config.redis_url)
    own = [Queue(name, connection=connection, serializer=JSONSerializer) for name in queues.names("streamer")]
    while found := Queue.dequeue_any(own, None, connection=connection, serializer=JSONSerializer):
        runner.perform(services, found[0].args[0], "w1")
    connection.close()


def upload(site: Site, who: str, name: str) -> str:
    answer = site.as_("member", name=who).post("/uploads?filename=film.mp4", content=name.encode())
    assert answer.status_code == 201, answer.text
    job_id: str = answer.json()["asset"]["job_id"]
    return job_id


def subscribe(site: Site, who: str, level: int) -> None:
    user = site.user("member", name=who)
    with db.session(site.services) as s:
        holders.assign(s, user.id, plans.create(s, who, encode_priority=level).id)


def test_the_better_plan_begins_first_starts_come_before_rests_and_short_films_before_long(
    site: Site, script: Script
) -> None:
    for who, level in (("cheap", 0), ("dear", 2)):
        subscribe(site, who, level)
    for name in ("cheap-long", "cheap-short", "dear-long", "dear-short"):
        upload(site, name.split("-")[0], name)
    work(site.services)
    assert script.started == ["dear-long", "dear-short", "cheap-long", "cheap-short"]
    assert script.made == [name for name in ("dear-short", "dear-long", "cheap-short", "cheap-long") for _ in RUNS]


def test_another_plan_counts_from_the_next_job_on(site: Site) -> None:
    before = upload(site, "ann", "one")
    subscribe(site, "ann", 3)
    after = upload(site, "ann", "two")
    with db.reading(site.services) as s:
        assert [jobs.get(s, one).payload[jobs.LEVEL] for one in (before, after)] == [0, 3]
        assert jobs.get(s, before).priority < jobs.get(s, after).priority
