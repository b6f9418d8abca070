from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from streamer import db
from streamer.errors import Conflict, NotFound
from streamer.jobs import jobs, kinds, waiting
from streamer.jobs.errors import LeaseLost, TaskFailed
from streamer.jobs.kinds import Kind
from streamer.jobs.tables import Job, State
from streamer.services import Services

FAULT = TaskFailed("broken", "Broken", "It broke.", retryable=True)
FINAL = TaskFailed("refused", "Refused", "It never works.", retryable=False)

followed: list[tuple[str, str]] = []


def follow(s: Session, job: Job) -> None:
    followed.append((job.id, job.state))


@pytest.fixture(autouse=True)
def kind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(kinds.KINDS, "test", Kind(run="nowhere:run", follow=f"{__name__}:follow"))
    followed.clear()
    yield


def enqueue(services: Services, **options: Any) -> Job:
    with db.session(services) as s:
        return jobs.enqueue(s, "test", "ver_1", **{"max_attempts": 3, **options})


def claim(services: Services, job: Job, worker: str = "w1") -> jobs.Claim | None:
    with db.session(services) as s:
        return jobs.claim(s, job.id, worker, 20)


def claimed(services: Services, job: Job, worker: str = "w1") -> jobs.Claim:
    held = claim(services, job, worker)
    assert held is not None
    return held


def row(services: Services, job: Job) -> Job:
    with db.reading(services) as s:
        return jobs.get(s, job.id)


def change(services: Services, job: Job, **values: Any) -> None:
    with db.session(services) as s:
        s.execute(update(Job).where(Job.id == job.id).values(**values))


def lapse(services: Services, job: Job) -> None:
    """Let the lease run out, by the database's clock."""
    change(services, job, lease_until=db.database_now(-0.1))


def test_many_workers_at_once_and_one_claims(services: Services) -> None:
    job = enqueue(services)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: claim(services, job, f"w{n}"), range(8)))
    assert len([c for c in claims if c is not None]) == 1
    assert row(services, job).fence == 1


def test_a_claim_knows_the_job_and_its_lease_is_20_s_by_the_databases_clock(services: Services) -> None:
    job = enqueue(services, payload={"film": "ü"})
    held = claimed(services, job)
    assert (held.kind, held.subject_id, held.payload, held.attempt) == ("test", "ver_1", {"film": "ü"}, 1)
    after = row(services, job)
    assert after.lease_until is not None and after.started_at is not None
    assert 19.9 <= (after.lease_until - after.started_at).total_seconds() <= 20.1


def test_a_job_is_not_claimed_before_its_time(services: Services) -> None:
    job = enqueue(services)
    change(services, job, run_after=db.database_now(60))
    assert claim(services, job) is None


def test_a_stale_worker_changes_nothing(services: Services) -> None:
    job = enqueue(services)
    stale = claimed(services, job)
    lapse(services, job)
    with db.session(services) as s:
        assert jobs.lost(s, job.id, stale.fence) is not None
    fresh = claimed(services, job, "w2")
    for attempt in (jobs.finish, jobs.hold, jobs.release, jobs.end_cancelled):
        with pytest.raises(LeaseLost), db.session(services) as s:
            attempt(s, stale)
    with pytest.raises(LeaseLost), db.session(services) as s:
        jobs.fail(s, stale, FAULT, services.config.jobs)
    with db.session(services) as s:
        assert not jobs.renew(s, stale, 20)
        assert jobs.renew(s, fresh, 20)
    assert row(services, job).lease_owner == "w2"


def test_what_goes_with_a_refused_finish_is_rolled_back(services: Services) -> None:
    job, other = enqueue(services), enqueue(services)
    stale = claimed(services, job)
    change(services, job, fence=99)
    with pytest.raises(LeaseLost), db.session(services) as s:
        s.execute(update(Job).where(Job.id == other.id).values(priority=7))
        jobs.finish(s, stale)
    assert row(services, other).priority == 0


def test_a_running_lease_is_not_taken_and_an_expired_one_is(services: Services) -> None:
    job = enqueue(services)
    held = claimed(services, job)
    with db.reading(services) as s:
        assert not jobs.expired(s)
    lapse(services, job)
    with db.session(services) as s:
        assert [found.id for found in jobs.expired(s)] == [job.id]
        taken = jobs.lost(s, job.id, held.fence)
    assert taken is not None
    assert (taken.state, taken.lost, taken.attempt, taken.fence) == (State.QUEUED, 1, 1, 2)
    with db.session(services) as s:
        assert jobs.lost(s, job.id, held.fence) is None


def test_a_job_that_kills_its_workers_is_given_up_with_a_reason(services: Services) -> None:
    job = enqueue(services)
    held = claimed(services, job)
    change(services, job, lost=jobs.MAX_LOST - 1)
    with db.session(services) as s:
        taken = jobs.lost(s, job.id, held.fence)
    assert taken is not None and taken.state == State.FAILED
    assert taken.error is not None and taken.error["code"] == "worker_lost"


def test_a_failure_is_tried_again_later_with_its_reason_visible(services: Services) -> None:
    job = enqueue(services)
    held = claimed(services, job)
    with db.session(services) as s:
        jobs.fail(s, held, FAULT, services.config.jobs)
    after = row(services, job)
    assert (after.state, after.attempt) == (State.QUEUED, 2)
    assert after.error == {
        "code": "broken",
        "title": "Broken",
        "detail": "It broke.",
        "retryable": True,
        "attempt": 1,
        "next_retry_at": after.run_after.isoformat(),
    }
    assert claim(services, job) is None


def test_pauses_double_up_to_a_limit(services: Services) -> None:
    settings = services.config.jobs.model_copy(update={"backoff_s": 5.0, "backoff_max_s": 30.0})
    assert [jobs.backoff_s(n, settings) for n in (1, 2, 3, 4)] == [5, 10, 20, 30]


def test_the_last_failure_is_final(services: Services) -> None:
    job = enqueue(services, max_attempts=1)
    held = claimed(services, job)
    with db.session(services) as s:
        jobs.fail(s, held, FAULT, services.config.jobs)
    after = row(services, job)
    assert after.state == State.FAILED and after.finished_at is not None
    assert after.error is not None and after.error["next_retry_at"] is None


def test_what_cannot_be_helped_is_not_retried(services: Services) -> None:
    job = enqueue(services)
    held = claimed(services, job)
    with db.session(services) as s:
        jobs.fail(s, held, FINAL, services.config.jobs)
    assert row(services, job).state == State.FAILED


def test_a_queued_job_is_cancelled_at_once_and_twice(services: Services) -> None:
    job = enqueue(services)
    for _ in range(2):
        with db.session(services) as s:
            assert jobs.cancel(s, job.id).state == State.CANCELLED
    assert claim(services, job) is None


def test_a_running_job_hears_that_it_is_cancelled(services: Services) -> None:
    job = enqueue(services)
    held = claimed(services, job)
    with db.session(services) as s:
        assert jobs.look(s, held) == (True, False)
        assert jobs.cancel(s, job.id).state == State.RUNNING
        assert jobs.look(s, held) == (True, True)
        jobs.end_cancelled(s, held)
    assert row(services, job).state == State.CANCELLED


@pytest.mark.parametrize("way", ["release", "fail", "lost"])
def test_a_cancel_is_never_forgotten(services: Services, way: str) -> None:
    job = enqueue(services)
    held = claimed(services, job)
    with db.session(services) as s:
        jobs.cancel(s, job.id)
    with db.session(services) as s:
        if way == "release":
            jobs.release(s, held)
        elif way == "fail":
            jobs.fail(s, held, FAULT, services.config.jobs)
        else:
            jobs.lost(s, job.id, held.fence)
    assert row(services, job).state == State.CANCELLED


def test_a_job_that_is_over_cannot_be_cancelled(services: Services) -> None:
    job = enqueue(services)
    held = claimed(services, job)
    with db.session(services) as s:
        jobs.finish(s, held)
    with pytest.raises(Conflict, match="already succeeded"), db.session(services) as s:
        jobs.cancel(s, job.id)


def test_a_job_given_back_costs_no_attempt(services: Services) -> None:
    job = enqueue(services)
    held = claimed(services, job)
    with db.session(services) as s:
        jobs.release(s, held)
    again = claimed(services, job, "w2")
    assert (again.attempt, again.fence) == (1, 2)


def test_a_failed_job_can_be_started_again_with_all_its_tries(services: Services) -> None:
    job = enqueue(services, max_attempts=1)
    held = claimed(services, job)
    with db.session(services) as s:
        jobs.fail(s, held, FAULT, services.config.jobs)
    with db.session(services) as s:
        again = jobs.requeue(s, job.id)
    assert (again.state, again.attempt, again.error, again.finished_at) == (State.QUEUED, 1, None, None)
    with pytest.raises(Conflict), db.session(services) as s:
        jobs.requeue(s, job.id)


def test_due_jobs_come_most_urgent_first(services: Services) -> None:
    low, high, normal = (enqueue(services, priority=p) for p in (-1, 1, 0))
    later = enqueue(services)
    change(services, later, run_after=db.database_now(60))
    with db.reading(services) as s:
        assert [job.id for job in waiting.due(s)] == [high.id, normal.id, low.id]


def test_the_newest_job_of_each_subject_is_found(services: Services) -> None:
    enqueue(services)
    newer = enqueue(services)
    with db.reading(services) as s:
        assert jobs.latest_of(s, ["ver_1", "ver_2"]).keys() == {"ver_1"}
        found = jobs.latest_of(s, ["ver_1"])["ver_1"]
    assert found.id >= newer.id or found.created_at == newer.created_at


def test_every_change_of_state_tells_the_subject(services: Services) -> None:
    job = enqueue(services)
    held = claimed(services, job)
    with db.session(services) as s:
        jobs.fail(s, held, FINAL, services.config.jobs)
    with db.session(services) as s:
        jobs.requeue(s, job.id)
    with db.session(services) as s:
        jobs.cancel(s, job.id)
    assert [state for _, state in followed] == ["failed", "queued", "cancelled"]


def test_an_unknown_job_is_not_found(services: Services) -> None:
    for hostile in ("job_none", "ü" * 40, "a" * 5000):
        with pytest.raises(NotFound), db.session(services) as s:
            jobs.cancel(s, hostile)
