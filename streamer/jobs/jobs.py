"""Jobs as rows: their states, their leases and who may change them.

SQL is the only retrier and holds the truth; RQ merely carries ids to workers. A worker owns a job while its lease runs, by the database's clock,
and shows its `fence` with every write: each claim and each loss raises it, so a worker that was given up for dead can neither finish the job
nor publish anything. Every change of state tells the subject's room in the same transaction (`kinds.follow`).

All functions work inside the caller's transaction. A claim is one conditional UPDATE that must match one row, because
MariaDB 10.11 has no UPDATE … RETURNING and SQLite no SKIP LOCKED.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, Update, delete, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from streamer import cache, ids
from streamer.config import Jobs as Settings
from streamer.db import database_now, looked_at
from streamer.errors import Conflict, NotFound
from streamer.jobs import kinds, urgency
from streamer.jobs.errors import LeaseLost, TaskFailed, describe
from streamer.jobs.tables import Job, State

MAX_LOST = 20
"""Times a job's worker may vanish before the job itself is suspected of killing it."""

LEVEL = "level"
"""In the payload of a job: that of its owner when it was made, which holds for all of its steps."""

_LOSS_PAUSE_MAX_S = 10.0

_WORKER_LOST = TaskFailed(
    "worker_lost",
    "The worker vanished",
    "The process doing this work ended without a word, several times. It may run out of memory on this film: look at the"
    " worker's log, give it more memory, then retry.",
    retryable=True,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's hold on a job: valid while the row's fence is this one."""

    job_id: str
    kind: str
    subject_id: str
    payload: dict[str, Any]
    attempt: int
    fence: int


def enqueue(
    s: Session,
    kind: str,
    subject_id: str,
    *,
    max_attempts: int,
    owner_id: str | None = None,
    payload: dict[str, Any] | None = None,
    priority: int = 0,
    delay_s: float = 0.0,
    step_of: tuple[str, str] | None = None,
) -> Job:
    """A new queued job, or the step of a job's id by its name. After the commit hand it to `queues.dispatch`; if that never happens, the sweep
    does it, which is the way for one that is to begin later. Of a kind that goes by its owner's level, that is the priority, and stays in the payload."""
    level = kinds.level(s, kind, owner_id)
    if level is not None:
        priority, payload = urgency.start(level), {**(payload or {}), LEVEL: level}
    job = Job(
        id=ids.new("job"),
        kind=kind,
        subject_id=subject_id,
        owner_id=owner_id,
        parent_id=step_of and step_of[0],
        step=step_of and step_of[1],
        payload=payload or {},
        priority=priority,
        max_attempts=max_attempts,
        run_after=database_now(delay_s),
        created_at=database_now(),
    )
    s.add(job)
    s.flush()
    return _changed(s, job.id)


def get(s: Session, job_id: str) -> Job:
    """The row, or NotFound."""
    job = s.get(Job, job_id) if ids.is_id(job_id) else None
    if job is None:
        raise NotFound("There is no job with this id.")
    return job


def claim(s: Session, job_id: str, worker: str, lease_s: float) -> Claim | None:
    """Take a due job for `lease_s` seconds, or None when it is not there to take (running, done, cancelled, not yet due)."""
    taken = _update(
        s,
        (
            Job.id == job_id,
            Job.state == State.QUEUED,
            Job.run_after <= database_now(),
            Job.cancel_requested_at.is_(None),
        ),
        state=State.RUNNING,
        lease_owner=worker,
        lease_until=database_now(lease_s),
        fence=Job.fence + 1,
        started_at=func.coalesce(Job.started_at, database_now()),
    )
    if not taken:
        return None
    job = _changed(s, job_id)
    return Claim(job.id, job.kind, job.subject_id, dict(job.payload), job.attempt, job.fence)


def renew(s: Session, held: Claim, lease_s: float) -> bool:
    """Extend the lease; False when it is lost."""
    longer = update(Job).where(*_held(held)).values(lease_until=database_now(lease_s))
    return _done(s, longer.execution_options(**cache.unseen()))


def look(s: Session, held: Claim) -> tuple[bool, bool]:
    """(the claim still holds, somebody wants the job cancelled), without taking any lock."""
    row = s.execute(select(Job.cancel_requested_at).where(*_held(held))).one_or_none()
    return row is not None, row is not None and row[0] is not None


def hold(s: Session, held: Claim) -> None:
    """Keep the claim valid until this transaction ends, or LeaseLost. Call it before writing anything on the job's behalf."""
    if s.execute(select(Job.id).where(*_held(held)).with_for_update()).one_or_none() is None:
        raise LeaseLost(held.job_id)


def finish(s: Session, held: Claim) -> None:
    """The work is done. LeaseLost, and so a rollback of all that goes with it, when the claim does not hold."""
    _end(s, held, State.SUCCEEDED, error=None)


def end_cancelled(s: Session, held: Claim) -> None:
    """The work was stopped because somebody cancelled it."""
    _end(s, held, State.CANCELLED)


def fail(s: Session, held: Claim, error: TaskFailed, settings: Settings) -> Job:
    """Record why it failed; queue it again after a pause when that can help and tries are left."""
    hold(s, held)
    job = _changed(s, held.job_id)
    if job.cancel_requested_at is not None:
        _end(s, held, State.CANCELLED)
    elif error.retryable and job.attempt < job.max_attempts:
        _again(s, held, error, backoff_s(job.attempt, settings))
    else:
        _end(s, held, State.FAILED, error=describe(error, job.attempt, None))
    return job


def release(s: Session, held: Claim, delay_s: float = 0.0) -> None:
    """Give the job back unfinished, with nothing counted against it: its worker shuts down, or it has to wait."""
    hold(s, held)
    if _changed(s, held.job_id).cancel_requested_at is not None:
        _end(s, held, State.CANCELLED)
    else:
        _requeue(s, held, database_now(delay_s))


def backoff_s(attempt: int, settings: Settings) -> float:
    """Seconds to wait after the given attempt failed."""
    return float(min(settings.backoff_s * 2 ** (attempt - 1), settings.backoff_max_s))


def cancel(s: Session, job_id: str) -> Job:
    """Cancel a queued job at once, ask the worker of a running one to stop. Cancelling twice is fine.

    Conflict when it is over, or of a kind that is never cancelled.
    """
    _refuse_step(found := get(s, job_id))
    if not kinds.is_cancellable(found.kind):
        raise Conflict("This work has to be done; it can't be cancelled.", code="not_cancellable")
    _stop(s, Job.id == job_id)
    stop_steps(s, job_id)
    job = _changed(s, job_id)
    if job.state in (State.SUCCEEDED, State.FAILED):
        raise Conflict(f"The job has already {job.state}; there is nothing left to cancel.", code="job_over")
    kinds.follow(s, job)
    return job


def stop_steps(s: Session, job_id: str) -> None:
    """Nothing of the job goes on; what its steps have finished stays."""
    _stop(s, Job.parent_id == job_id)


def requeue(s: Session, job_id: str) -> Job:
    """Start a failed or cancelled job again, with all its tries. What it finished before is kept by its work."""
    _refuse_step(get(s, job_id))
    if not restart(s, job_id):
        raise Conflict("Only a job that failed or was cancelled can be retried.", code="job_not_over")
    job = _changed(s, job_id)
    kinds.follow(s, job)
    return job


def restart(s: Session, job_id: str) -> bool:
    """Queue it with all its tries, if it failed or was cancelled."""
    again = {**_queued(database_now()), "attempt": 1, "lost": 0, "error": None, "finished_at": None}
    return _update(s, (Job.id == job_id, Job.state.in_((State.FAILED, State.CANCELLED))), **again)


def expired(s: Session, limit: int = 100) -> Sequence[Job]:
    """Running jobs whose worker has not been heard of for a whole lease."""
    return s.scalars(
        select(Job)
        .where(Job.state == State.RUNNING, Job.lease_until < database_now())
        .order_by(Job.lease_until)
        .limit(limit)
    ).all()


def lost(s: Session, job_id: str, fence: int) -> Job | None:
    """Take a job from a worker that vanished: queued again at once the first time, given up after MAX_LOST. None if it moved on."""
    held = (Job.id == job_id, Job.fence == fence, Job.state == State.RUNNING)
    job = s.scalars(select(Job).where(*held).with_for_update().execution_options(populate_existing=True)).one_or_none()
    if job is None:
        return None
    values = _after_loss(job)
    _update(s, held, **{**values, "fence": Job.fence + 1, "lost": Job.lost + 1})
    job = _changed(s, job_id)
    if job.state != State.QUEUED:
        _end_steps(s, job_id, State(job.state))
    kinds.follow(s, job)
    return job


def lost_by(s: Session, worker: str) -> list[Job]:
    """The same for all that a worker had in hand when it saw its own child process die: a job and steps of it."""
    held = s.execute(select(Job.id, Job.fence).where(Job.state == State.RUNNING, Job.lease_owner == worker)).all()
    return [job for job_id, fence in held if (job := lost(s, job_id, fence)) is not None]


def latest_of(s: Session, subject_ids: Sequence[str]) -> dict[str, Job]:
    """The newest job of each subject that has one."""
    whole = Job.subject_id.in_(subject_ids), looked_at(Job.parent_id).is_(None)
    newest = select(func.max(Job.id)).where(*whole).group_by(Job.subject_id)
    return {job.subject_id: job for job in s.scalars(select(Job).where(Job.id.in_(newest)))}


def unfinished_of(s: Session, subject_ids: Sequence[str]) -> Sequence[Job]:
    """Jobs on these subjects that are queued or running."""
    open_states = (State.QUEUED, State.RUNNING)
    whole = Job.subject_id.in_(subject_ids), looked_at(Job.parent_id).is_(None)
    return s.scalars(select(Job).where(*whole, Job.state.in_(open_states))).all()


def _again(s: Session, held: Claim, error: TaskFailed, delay_s: float) -> None:
    run_after = _database_time(s, delay_s)
    _requeue(s, held, run_after, attempt=Job.attempt + 1, error=describe(error, held.attempt, run_after))


def _requeue(s: Session, held: Claim, run_after: object, **values: Any) -> None:
    if not _update(s, _held(held), **_queued(run_after), **values):
        raise LeaseLost(held.job_id)
    kinds.follow(s, _changed(s, held.job_id))


def _end(s: Session, held: Claim, state: State, **values: Any) -> None:
    if not _update(s, _held(held), **_ended(state), **values):
        raise LeaseLost(held.job_id)
    _end_steps(s, held.job_id, state)
    kinds.follow(s, _changed(s, held.job_id))


def _end_steps(s: Session, job_id: str, state: State) -> None:
    """Those of a job that succeeded have said all they can; of one that failed none goes on, and what is finished stays for a retry."""
    if state == State.SUCCEEDED:
        s.execute(delete(Job).where(Job.parent_id == job_id).execution_options(synchronize_session=False))
    else:
        stop_steps(s, job_id)


def _stop(s: Session, which: ColumnElement[bool]) -> None:
    """End those that wait, ask those that run to stop."""
    _update(s, (which, Job.state == State.QUEUED), **_ended(State.CANCELLED))
    running = which, Job.state == State.RUNNING, Job.cancel_requested_at.is_(None)
    _update(s, running, cancel_requested_at=database_now())


def _refuse_step(job: Job) -> None:
    if job.parent_id is not None:
        raise Conflict(f"This is a step of the job {job.parent_id}; do it to that one.", code="job_is_step")


def _after_loss(job: Job) -> dict[str, Any]:
    if job.cancel_requested_at is not None:
        return _ended(State.CANCELLED)
    if job.lost + 1 >= MAX_LOST:
        return {**_ended(State.FAILED), "error": describe(_WORKER_LOST, job.attempt, None)}
    return _queued(database_now(min(2.0 * job.lost, _LOSS_PAUSE_MAX_S)))


def _queued(run_after: object) -> dict[str, Any]:
    return {
        "state": State.QUEUED,
        "run_after": run_after,
        "lease_owner": None,
        "lease_until": None,
        "cancel_requested_at": None,
    }


def _ended(state: State) -> dict[str, Any]:
    return {"state": state, "finished_at": database_now(), "lease_owner": None, "lease_until": None}


def _held(held: Claim) -> tuple[ColumnElement[bool], ...]:
    return (Job.id == held.job_id, Job.fence == held.fence, Job.state == State.RUNNING)


def _update(s: Session, where: tuple[ColumnElement[bool], ...], **values: Any) -> bool:
    return _done(s, update(Job).where(*where).values(**values))


def _done(s: Session, statement: Update) -> bool:
    """Whether it found its row."""
    result = s.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def _changed(s: Session, job_id: str) -> Job:
    """The row as it is after an UPDATE that went past the session's memory of it."""
    return s.scalars(select(Job).where(Job.id == job_id).execution_options(populate_existing=True)).one()


def _database_time(s: Session, plus_s: float) -> datetime:
    return s.scalars(select(database_now(plus_s))).one()
