"""Ids on their way to workers: RQ lists in Redis that may be lost, pushed twice or pushed late without harm.

Each dispatch of a job is a one-shot RQ job named `<job id>-<fence>`, so a sweep sees from the names alone what is missing. RQ retries nothing
and keeps nothing. A duplicate costs one claim that fails.
"""

from collections.abc import Iterable, Sequence

import redis
import structlog
from rq import Queue
from rq.serializers import JSONSerializer

from streamer.jobs import urgency
from streamer.jobs.tables import Job
from streamer.jobs.urgency import LATE_REST, LATE_START, LEVELS, URGENT, Length
from streamer.services import Services

RUN = "streamer.jobs.worker.run_job"
_FAILED_KEPT_S = 3600
_LENGTHS = {Length.SHORT: "-low", Length.MIDDLE: "-lower", Length.LONG: "-lowest"}
_PLANS = {level: f"-plan{level}" if level else "" for level in reversed(LEVELS)}
_SUFFIXES = {  # most urgent first
    URGENT: "-high",
    LATE_START: "-late",
    **{urgency.start(level): plan for level, plan in _PLANS.items()},
    LATE_REST: "-low-late",
    **{urgency.rest(level, one): low + plan for level, plan in _PLANS.items() for one, low in _LENGTHS.items()},
}
_LEAST = list(_SUFFIXES.values())[-1]

log = structlog.get_logger(__name__)


def names(base: str) -> tuple[str, ...]:
    """The queues a worker listens on, most urgent first: one for each priority."""
    return tuple(base + suffix for suffix in _SUFFIXES.values())


def dispatch(services: Services, jobs: Iterable[Job]) -> None:
    """Push jobs that were just committed. Without Redis nothing is lost: the sweep pushes them when it is back."""
    try:
        for job in jobs:
            _push(services, job)
    except redis.RedisError as error:
        log.warning("jobs not pushed, the sweep will do it", error=str(error))


def move(services: Services, before: Iterable[Job], after: Iterable[Job]) -> None:
    """Jobs whose priority was just changed, from the queues where they were."""
    try:
        for job in before:
            _queue(services, _queue_of(services.config.jobs.queue, job)).remove(_name(job))
    except redis.RedisError as error:
        log.warning("jobs left in their queues", error=str(error))
    dispatch(services, after)


def push_missing(services: Services, due: Sequence[Job]) -> int:
    """Push those that no queue holds; how many that were. Raises redis.RedisError."""
    waiting = {name for queue in names(services.config.jobs.queue) for name in _queue(services, queue).job_ids}
    missing = [job for job in due if _name(job) not in waiting]
    for job in missing:
        _push(services, job)
    return len(missing)


def _push(services: Services, job: Job) -> None:
    _queue(services, _queue_of(services.config.jobs.queue, job)).enqueue_call(
        RUN,
        args=[job.id],
        job_id=_name(job),
        description=f"{job.kind} {job.subject_id}",
        timeout=-1,  # a film may take a day; leases find the dead ones
        result_ttl=0,
        failure_ttl=_FAILED_KEPT_S,
    )


def _queue(services: Services, name: str) -> Queue:
    return Queue(name, connection=services.kv_sync, serializer=JSONSerializer)


def _queue_of(base: str, job: Job) -> str:
    return base + next((suffix for priority, suffix in _SUFFIXES.items() if priority <= job.priority), _LEAST)


def _name(job: Job) -> str:
    return f"{job.id}-{job.fence}"
