"""What happens between claim and end, in this process, with the work given by the test."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from storage import StorageDown, StorageFull
from streamer import db
from streamer.jobs import jobs, kinds, runner
from streamer.jobs.errors import LeaseLost, TaskFailed, TaskPostponed, TaskStopped
from streamer.jobs.kinds import Kind
from streamer.jobs.runner import Outcome, Task
from streamer.jobs.tables import Job
from streamer.services import Services

Work = Callable[[Task], Outcome | None]
work: Work = lambda task: None  # noqa: E731  # replaced by each test


def run(task: Task) -> Outcome | None:
    return work(task)


@pytest.fixture
def perform(services: Services, monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], Job]:
    """Run a new job with this work and answer its row."""
    monkeypatch.setitem(kinds.KINDS, "test", Kind(run=f"{__name__}:run"))

    def performed(given: Work, **options: Any) -> Job:
        monkeypatch.setattr(f"{__name__}.work", given)
        with db.session(services) as s:
            job = jobs.enqueue(s, "test", "ver_1", max_attempts=3)
        runner.perform(services, job.id, "w1", **options)
        with db.reading(services) as s:
            return jobs.get(s, job.id)

    return performed


def raising(error: Exception) -> Work:
    def fails(task: Task) -> None:
        raise error

    return fails


def test_results_are_written_with_the_end_of_the_job(perform: Callable[..., Job]) -> None:
    def writes(task: Task) -> Outcome:
        return lambda s: _set(s, task, priority=7)

    job = perform(writes)
    assert (job.state, job.priority) == ("succeeded", 7)


def test_results_of_a_worker_that_lost_its_lease_are_not_written(
    perform: Callable[..., Job], services: Services
) -> None:
    def loses(task: Task) -> Outcome:
        with db.session(services) as s:
            _set(s, task, fence=task.claim.fence + 1)
        return lambda s: _set(s, task, priority=7)

    job = perform(loses)
    assert (job.state, job.priority) == ("running", 0)


def test_the_lease_is_kept_as_long_as_the_work_takes(perform: Callable[..., Job], services: Services) -> None:
    def slow(task: Task) -> None:
        time.sleep(services.config.jobs.lease_s + 0.5)
        with db.reading(services) as s:
            assert not jobs.expired(s)

    assert perform(slow).state == "succeeded"


def test_work_that_lost_its_lease_is_told_to_stop(perform: Callable[..., Job], services: Services) -> None:
    def loses(task: Task) -> None:
        with db.session(services) as s:
            _set(s, task, fence=task.claim.fence + 1)
        _wait_for(task.stopped)
        with pytest.raises(LeaseLost):
            task.write(lambda s: None)
        raise TaskStopped

    assert perform(loses).state == "running"


def test_a_cancel_reaches_the_work(perform: Callable[..., Job], services: Services) -> None:
    def waits(task: Task) -> None:
        with db.session(services) as s:
            jobs.cancel(s, task.claim.job_id)
        _wait_for(task.stopped)
        raise TaskStopped

    assert perform(waits).state == "cancelled"


def test_work_that_has_to_wait_comes_again_at_no_cost(perform: Callable[..., Job]) -> None:
    job = perform(raising(TaskPostponed(60)))
    assert (job.state, job.attempt) == ("queued", 1)
    assert (job.run_after - job.created_at).total_seconds() > 59


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageFull("disk"), "storage_full"),
        (StorageDown("s3"), "storage_down"),
        (OperationalError("select", {}, Exception("gone away")), "database_down"),
        (ValueError("bug"), "internal"),
    ],
)
def test_each_fault_is_explained_and_tried_again(perform: Callable[..., Job], error: Exception, code: str) -> None:
    job = perform(raising(error))
    assert (job.state, job.attempt) == ("queued", 2)
    assert job.error is not None
    assert job.error["code"] == code
    assert job.error["detail"].endswith(".") and job.error["next_retry_at"]


def test_results_that_cannot_be_written_are_a_failure_like_any_other(perform: Callable[..., Job]) -> None:
    def collides(task: Task) -> Outcome:
        def outcome(s: Session) -> None:
            _set(s, task, priority=7)
            raise IntegrityError("insert", {}, Exception("duplicate"))

        return outcome

    job = perform(collides)
    assert (job.state, job.attempt, job.priority) == ("queued", 2, 0)


def test_results_can_refuse_themselves(perform: Callable[..., Job]) -> None:
    def refuses(task: Task) -> Outcome:
        return lambda s: raising(TaskFailed("gone", "Gone", "It is gone.", retryable=False))(task)  # type: ignore[return-value]

    job = perform(refuses)
    assert job.state == "failed" and job.error is not None and job.error["code"] == "gone"


def test_a_database_that_is_away_at_the_end_is_waited_for(
    perform: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def outcome(s: Session) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("commit", {}, Exception("gone away"))

    assert perform(lambda task: outcome).state == "succeeded"


def test_a_database_that_is_away_in_the_middle_stops_nothing(
    perform: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def away(*args: object) -> tuple[bool, bool]:
        looked.append(1)
        raise OperationalError("select", {}, Exception("gone away"))

    def works(task: Task) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(jobs, "look", away)
            _wait_for(lambda: len(looked) > 1)
        assert not task.stopped()

    assert perform(works).state == "succeeded"


def test_a_worker_that_leaves_gives_the_job_back_even_if_the_work_does_not_listen(
    perform: Callable[..., Job], services: Services
) -> None:
    ended = threading.Event()
    job = perform(lambda task: _deaf(ended), leaving=lambda: True, insist=ended.set)
    assert (job.state, job.attempt) == ("queued", 1)


def _deaf(ended: threading.Event) -> None:
    """The process would be gone by now."""
    assert ended.wait(10)


def _set(s: Session, task: Task, **values: Any) -> None:
    s.execute(update(Job).where(Job.id == task.claim.job_id).values(**values))


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
