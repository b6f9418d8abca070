"""How far a job is, for people who watch it: one Redis hash per job, gone a day after its last change.

Nothing depends on it. Writing never fails a job and reading never fails a page: without Redis there is just no progress to show.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog

_TTL_S = 24 * 3600

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """`percent` 0 to 100 of the whole job, `eta_s` seconds left, `speed` as a multiple of real time; None where not known yet."""

    stage: str
    percent: float
    eta_s: float | None = None
    speed: float | None = None
    attempt: int = 1


def write(kv: redis.Redis, job_id: str, progress: Progress) -> None:
    """Replace what is known."""
    fields: dict[Any, Any] = {
        "stage": progress.stage,
        "percent": f"{progress.percent:.1f}",
        "eta_s": "" if progress.eta_s is None else f"{progress.eta_s:.0f}",
        "speed": "" if progress.speed is None else f"{progress.speed:.2f}",
        "attempt": str(progress.attempt),
        "updated_at": f"{time.time():.3f}",
    }
    try:
        with kv.pipeline(transaction=False) as pipeline:
            pipeline.hset(_key(job_id), mapping=fields)
            pipeline.expire(_key(job_id), _TTL_S)
            pipeline.execute()
    except redis.RedisError as error:
        log.debug("progress not written", job=job_id, error=str(error))


def read(kv: redis.Redis, job_ids: Sequence[str]) -> dict[str, Progress]:
    """The progress of those jobs that have one, in a single round trip."""
    if not job_ids:
        return {}
    try:
        with kv.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hgetall(_key(job_id))
            answers = pipeline.execute()
    except redis.RedisError as error:
        log.warning("progress not read", error=str(error))
        return {}
    return {job_id: _progress(fields) for job_id, fields in zip(job_ids, answers, strict=True) if fields}


def _key(job_id: str) -> str:
    return f"job:{job_id}"


def _progress(fields: dict[str, str]) -> Progress:
    return Progress(
        stage=fields["stage"],
        percent=float(fields["percent"]),
        eta_s=_number(fields["eta_s"]),
        speed=_number(fields["speed"]),
        attempt=int(fields["attempt"]),
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
