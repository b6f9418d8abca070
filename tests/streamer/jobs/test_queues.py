from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis
from sqlalchemy import update

from streamer import db, kv
from streamer.config import Redis
from streamer.jobs import jobs, leases, progress, queues, scheduler, urgency, waiting
from streamer.jobs.progress import Progress
from streamer.jobs.tables import Job
from streamer.jobs.urgency import Length
from streamer.services import Services


@pytest.fixture
def redis_away() -> Iterator[redis.Redis]:
    client = kv.open_sync(Redis(), "unix:///nowhere/valkey.sock")
    yield client
    client.close()


def enqueue(services: Services, **options: int) -> Job:
    with db.session(services) as s:
        return jobs.enqueue(s, "test", "ver_1", max_attempts=3, **options)


def lengths(services: Services) -> list[int]:
    return [services.kv_sync.llen(f"rq:queue:{name}") for name in queues.names("streamer")]


def test_jobs_wait_in_the_queue_of_their_priority(services: Services) -> None:
    starts = [urgency.start(3), urgency.start(), urgency.start()]
    rests = [urgency.rest(3, Length.LONG), urgency.rest(0, Length.SHORT), urgency.rest(0, Length.LONG)]
    for priority in (*rests, *starts, urgency.URGENT, urgency.LATE_START, urgency.LATE_REST, 999, -999):
        queues.dispatch(services, [enqueue(services, priority=priority)])
    found = {name: number for name, number in zip(queues.names("q"), lengths(services), strict=True) if number}
    assert found == {
        "q-high": 2,
        "q-late": 1,
        "q-plan3": 1,
        "q": 2,
        "q-low-late": 1,
        "q-lowest-plan3": 1,
        "q-low": 1,
        "q-lowest": 2,
    }


def test_what_waits_too_long_goes_before_all_of_its_class(services: Services) -> None:
    better, mine, rest = (enqueue(services, priority=p) for p in (urgency.start(3), 0, urgency.rest(0, Length.LONG)))
    urgent = enqueue(services, priority=urgency.URGENT)
    queues.dispatch(services, [better, mine, rest, urgent])
    with db.session(services) as s:
        s.execute(update(Job).where(Job.id.in_([mine.id, rest.id, urgent.id])).values(run_after=db.database_now(-3601)))
    for _ in range(2):
        scheduler.sweep(services, "me")
    with db.reading(services) as s:
        assert [job.id for job in waiting.due(s)] == [urgent.id, mine.id, better.id, rest.id]
    found = {name: number for name, number in zip(queues.names("q"), lengths(services), strict=True) if number}
    assert found == {"q-high": 1, "q-late": 1, "q-plan3": 1, "q-low-late": 1}


def test_a_sweep_pushes_what_is_in_no_queue_and_nothing_twice(services: Services) -> None:
    queues.dispatch(services, [enqueue(services)])
    enqueue(services)
    assert scheduler.hand_out(services) == 1
    assert scheduler.hand_out(services) == 0
    services.kv_sync.flushall()
    assert scheduler.hand_out(services) == 2


def test_a_job_without_redis_is_queued_all_the_same(services: Services, redis_away: redis.Redis) -> None:
    job = enqueue(services)
    queues.dispatch(_with(services, redis_away), [job])
    assert scheduler.hand_out(services) == 1


def test_a_sweep_takes_back_expired_jobs_and_hands_them_out(services: Services) -> None:
    job = enqueue(services)
    with db.session(services) as s:
        assert jobs.claim(s, job.id, "w1", -1) is not None
    assert scheduler.sweep(services, "me")
    with db.reading(services) as s:
        assert (jobs.get(s, job.id).state, jobs.get(s, job.id).lost) == ("queued", 1)
    assert sum(lengths(services)) == 1


def test_one_scheduler_leads_and_another_takes_over(services: Services) -> None:
    with db.session(services) as s:
        assert leases.take(s, "scheduler", "a", 60)
    with db.session(services) as s:
        assert leases.take(s, "scheduler", "a", -1)
    assert scheduler.sweep(services, "b")
    assert not scheduler.sweep(services, "a")
    with db.session(services) as s:
        leases.give_back(s, "scheduler", "b")
    assert scheduler.sweep(services, "a")


def test_progress_of_many_jobs_is_read_at_once(services: Services) -> None:
    progress.write(services.kv_sync, "job_1", Progress("encoding", 12.34, 60.4, 1.5, 2))
    progress.write(services.kv_sync, "job_2", Progress("probing", 0.0))
    known = progress.read(services.kv_sync, ["job_1", "job_2", "job_3"])
    assert known == {"job_1": Progress("encoding", 12.3, 60.0, 1.5, 2), "job_2": Progress("probing", 0.0)}
    assert 0 < services.kv_sync.ttl("job:job_1") <= 86400


def test_without_redis_there_is_just_no_progress(redis_away: redis.Redis) -> None:
    progress.write(redis_away, "job_1", Progress("encoding", 1.0))
    assert progress.read(redis_away, ["job_1"]) == {}
    assert progress.read(redis_away, []) == {}


def _with(services: Services, kv: redis.Redis) -> Services:
    return replace(services, kv_sync=kv)
