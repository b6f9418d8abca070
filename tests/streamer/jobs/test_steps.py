"""Parts of a job: offered once, taken by anybody, ended with their parent."""

import socket
from collections.abc import Sequence
from typing import Any

import pytest

from streamer import db
from streamer.errors import Conflict, Invalid, NotFound
from streamer.jobs import jobs, steps, waiting, workers
from streamer.jobs.errors import TaskFailed
from streamer.jobs.jobs import Claim
from streamer.jobs.tables import Job
from streamer.services import Services

FINAL = TaskFailed("refused", "Refused", "It never works.", retryable=False)


@pytest.fixture
def held(services: Services) -> Claim:
    """A job that a worker has in hand."""
    with db.session(services) as s:
        job = jobs.enqueue(s, "test", "ver_1", max_attempts=3)
        claim = jobs.claim(s, job.id, "w1", 20)
    assert claim
    return claim


def offer(services: Services, held: Claim, *names: str) -> Sequence[Job]:
    with db.session(services) as s:
        steps.offer(s, held, "part", {name: {"name": name} for name in names}, max_attempts=3, priority=-1)
        return steps.of(s, held.job_id)


def take(services: Services, job: Job, worker: str = "w2") -> Claim:
    with db.session(services) as s:
        claim = jobs.claim(s, job.id, worker, 20)
    assert claim
    return claim


def states(services: Services, held: Claim) -> dict[str | None, str]:
    with db.reading(services) as s:
        return {job.step: job.state for job in steps.of(s, held.job_id)}


def test_a_step_is_offered_once_however_often_its_parent_begins_again(services: Services, held: Claim) -> None:
    first = offer(services, held, "a", "b")
    again = offer(services, held, "b", "c")
    assert [job.step for job in again] == ["a", "b", "c"]
    assert [job.id for job in again[:2]] == [job.id for job in first]
    assert {(job.subject_id, job.owner_id, job.priority) for job in again} == {("ver_1", None, -1)}


def test_a_step_is_nobodys_newest_job_and_not_in_the_way_of_its_subject(services: Services, held: Claim) -> None:
    offer(services, held, "a")
    with db.reading(services) as s:
        assert jobs.latest_of(s, ["ver_1"])["ver_1"].id == held.job_id
        assert [job.id for job in jobs.unfinished_of(s, ["ver_1"])] == [held.job_id]


def test_those_that_are_taken_or_wait_for_another_try_are_not_due(services: Services, held: Claim) -> None:
    one, two, three = offer(services, held, "a", "b", "c")
    take(services, one)
    fault = TaskFailed("broken", "Broken", "It broke.", retryable=True)
    with db.session(services) as s:
        jobs.fail(s, claim_of(s, two), fault, services.config.jobs.model_copy(update={"backoff_s": 60}))
        assert [job.id for job in steps.due(s, held.job_id)] == [three.id]


def claim_of(s: Any, job: Job) -> Claim:
    claim = jobs.claim(s, job.id, "w2", 20)
    assert claim
    return claim


@pytest.mark.parametrize("end", ["cancelled", "failed", "lost too often"])
def test_steps_stop_with_their_parent(services: Services, held: Claim, end: str) -> None:
    done, running, _ = offer(services, held, "done", "running", "waiting")
    with db.session(services) as s:
        jobs.finish(s, claim_of(s, done))
    claim = take(services, running)
    with db.session(services) as s:
        if end == "cancelled":
            jobs.cancel(s, held.job_id)
        elif end == "failed":
            jobs.fail(s, held, FINAL, services.config.jobs)
        else:
            s.get_one(Job, held.job_id).lost = jobs.MAX_LOST
            s.flush()
            jobs.lost(s, held.job_id, held.fence)
    assert states(services, held) == {"done": "succeeded", "running": "running", "waiting": "cancelled"}
    with db.reading(services) as s:
        assert jobs.look(s, claim) == (True, True), "its worker is asked to stop"


def test_a_parent_that_succeeded_keeps_no_steps(services: Services, held: Claim) -> None:
    (part,) = offer(services, held, "a")
    with db.session(services) as s:
        jobs.finish(s, claim_of(s, part))
        jobs.finish(s, held)
    assert states(services, held) == {}


def test_what_failed_is_tried_again_when_the_parent_is_and_what_succeeded_is_not(
    services: Services, held: Claim
) -> None:
    bad, good = offer(services, held, "bad", "good")
    with db.session(services) as s:
        jobs.finish(s, claim_of(s, good))
        jobs.fail(s, claim_of(s, bad), FINAL, services.config.jobs)
        jobs.fail(s, held, FINAL, services.config.jobs)
        jobs.requeue(s, held.job_id)
    with db.session(services) as s:
        again = jobs.claim(s, held.job_id, "w1", 20)
    assert again
    offer(services, again, "good", "bad")
    assert states(services, held) == {"good": "succeeded", "bad": "queued"}


def test_a_step_is_neither_cancelled_nor_retried_by_itself(services: Services, held: Claim) -> None:
    (part,) = offer(services, held, "a")
    with db.session(services) as s:
        for change in (jobs.cancel, jobs.requeue):
            with pytest.raises(Conflict, match=held.job_id):
                change(s, part.id)


def test_a_worker_that_died_loses_its_job_and_the_steps_it_had_in_hand(services: Services, held: Claim) -> None:
    mine, others = offer(services, held, "mine", "others")
    take(services, mine, "w1")
    take(services, others, "w2")
    with db.session(services) as s:
        assert {job.id for job in jobs.lost_by(s, "w1")} == {held.job_id, mine.id}
    assert states(services, held) == {"mine": "queued", "others": "running"}


def test_only_a_whole_job_that_waits_is_urgent(services: Services, held: Claim) -> None:
    offer(services, held, "a")
    with db.session(services) as s:
        assert not waiting.is_urgent(s, -2, 0)
        jobs.enqueue(s, "test", "ver_2", max_attempts=3)
    with db.reading(services) as s:
        assert waiting.is_urgent(s, -1, 0) and not waiting.is_urgent(s, 0, 0) and not waiting.is_urgent(s, -1, 60)


def test_what_a_step_records_is_there_for_its_parent(services: Services, held: Claim) -> None:
    (part,) = offer(services, held, "a")
    with db.session(services) as s:
        steps.record(s, claim_of(s, part), damaged=3)
        assert steps.of(s, held.job_id)[0].payload == {"name": "a", "damaged": 3}


def test_a_pause_is_for_a_worker_or_for_its_host(services: Services) -> None:
    name = workers.new_name()
    with db.session(services) as s:
        assert not workers.is_paused(s, name)
        for paused in (name, socket.gethostname()):
            workers.pause(s, paused)
            workers.pause(s, paused)
            assert workers.is_paused(s, name) and not workers.is_paused(s, "elsewhere.1.a")
            workers.resume(s, paused)
        with pytest.raises(NotFound):
            workers.resume(s, name)
        with pytest.raises(Invalid):
            workers.pause(s, "")
