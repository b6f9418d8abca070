"""One job from claim to end, inside a worker's child process.

The kind's `run(task)` does the work and answers a function that writes its results. Runner calls that in the very
transaction that finishes the job, so results appear when and only when this worker still owned it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from storage import StorageDown, StorageFull
from streamer import db
from streamer.jobs import jobs, kinds, progress, queues, waiting
from streamer.jobs.errors import LeaseLost, TaskFailed, TaskPostponed, TaskStopped
from streamer.jobs.jobs import Claim
from streamer.jobs.progress import Progress
from streamer.jobs.pulse import Pulse, Stop
from streamer.services import Services

Outcome = Callable[[Session], None]

_SETTLE_S = 60.0
_REPORT_S = 0.4

log = structlog.get_logger(__name__)


@dataclass
class Task:
    """What the work gets: whom it is for, and how it tells how far it is and hears that it must stop."""

    services: Services
    claim: Claim
    worker: str
    stopped: Callable[[], bool]
    _reported: tuple[str, float] = ("", 0.0)

    @property
    def subject_id(self) -> str:
        return self.claim.subject_id

    def report(self, stage: str, percent: float, eta_s: float | None = None, speed: float | None = None) -> None:
        """Tell the people who watch; calls in quick succession cost nothing."""
        before, at = self._reported
        if stage == before and time.monotonic() - at < _REPORT_S:
            return
        self._reported = (stage, time.monotonic())
        now = Progress(stage, percent, eta_s, speed, self.claim.attempt)
        progress.write(self.services.kv_sync, self.claim.job_id, now)

    def write(self, change: Outcome) -> None:
        """A transaction in the middle of the work, refused with LeaseLost when the job is no longer ours."""

        def guarded(s: Session) -> None:
            jobs.hold(s, self.claim)
            change(s)

        db.retrying(self.services, guarded)


def perform(services: Services, job_id: str, worker: str, *, leaving: Callable[[], bool] = lambda: False,
            insist: Callable[[], None] | None = None) -> None:  # fmt: skip
    """Claim the job, do it and write how it ended. Nothing happens when it is not there to claim."""
    claim = db.retrying(services, lambda s: jobs.claim(s, job_id, worker, services.config.jobs.lease_s))
    if claim is None:
        log.info("job not claimed", job=job_id)
        return
    with structlog.contextvars.bound_contextvars(job=job_id, kind=claim.kind, fence=claim.fence):
        log.info("job claimed", subject=claim.subject_id, attempt=claim.attempt)
        _work(services, claim, worker, leaving, insist)


def _work(
    services: Services,
    claim: Claim,
    worker: str,
    leaving: Callable[[], bool],
    insist: Callable[[], None] | None,
) -> None:
    def leave(stop: Stop) -> None:
        _settle(services, claim, lambda s: _stopped(s, claim, stop))
        if insist is not None:
            insist()

    with Pulse(services, claim, leaving=leaving, insist=leave if insist else None) as pulse:
        end = _attempt(Task(services, claim, worker, pulse.stopped), pulse)
        _settle(services, claim, end)
    with db.reading(services) as s:
        queues.dispatch(services, waiting.given_back(s, claim))


def _attempt(task: Task, pulse: Pulse) -> Outcome:
    """Do the work; what to write about it."""
    claim = task.claim
    try:
        return _finished(claim, kinds.runner(claim.kind)(task))
    except TaskPostponed as wait:
        delay_s = wait.delay_s
        return lambda s: jobs.release(s, claim, delay_s)
    except (TaskStopped, LeaseLost):
        return lambda s: _stopped(s, claim, pulse.stop or Stop.LOST)
    except Exception as error:  # whatever it is, the row must tell it
        return _failed(claim, error, task.services)


def explained(error: Exception) -> TaskFailed:
    """Any fault as something a person can act on."""
    if isinstance(error, TaskFailed):
        return error
    if isinstance(error, StorageFull):
        return TaskFailed(
            "storage_full",
            "No room left",
            "The storage is full. Make room; the work goes on by itself.",
            retryable=True,
        )
    if isinstance(error, StorageDown):
        detail = "The storage does not answer or refuses to write. The work goes on by itself when it is back."
        return TaskFailed("storage_down", "The storage is not available", detail, retryable=True)
    if isinstance(error, DBAPIError):
        detail = "The database did not answer. The work goes on by itself when it is back."
        return TaskFailed("database_down", "The database is not available", detail, retryable=True)
    detail = (
        "A fault in the server stopped the work. It is tried again; if it keeps failing, the worker's log says why."
    )
    return TaskFailed("internal", "Something went wrong on our side", detail, retryable=True)


def _finished(claim: Claim, outcome: Outcome | None) -> Outcome:
    def write(s: Session) -> None:
        jobs.hold(s, claim)
        if outcome is not None:
            outcome(s)
        jobs.finish(s, claim)

    return write


def _failed(claim: Claim, error: Exception, services: Services) -> Outcome:
    failure = explained(error)
    log.warning("job failed", code=failure.code, detail=failure.detail, exc_info=error)

    def write(s: Session) -> None:
        jobs.fail(s, claim, failure, services.config.jobs)

    return write


def _stopped(s: Session, claim: Claim, stop: Stop) -> None:
    if stop is Stop.CANCELLED:
        jobs.end_cancelled(s, claim)
    elif stop is Stop.LEAVING:
        jobs.release(s, claim)
    else:
        raise LeaseLost(claim.job_id)


def _settle(services: Services, claim: Claim, end: Outcome) -> None:
    """Write how it ended, through a restart of the database; a lost lease ends in silence, since nothing here is ours to write."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        try:
            db.retrying(services, end)
            log.info("job settled")
            return
        except LeaseLost:
            log.warning("lease lost, results dropped")
            return
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            log.warning("job not settled yet", error=str(error))
            time.sleep(1)
        except Exception as error:  # the results could not be written; that is a failure of the job like any other
            end = _failed(claim, error, services)
    log.error("job not settled, its lease will expire")
