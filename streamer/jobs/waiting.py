"""Jobs that wait for a worker. All inside the caller's transaction."""

from collections.abc import Sequence

from sqlalchemy import case, or_, select, update
from sqlalchemy.orm import Session

from streamer.db import database_now
from streamer.jobs.jobs import Claim
from streamer.jobs.tables import Job, State
from streamer.jobs.urgency import LATE_REST, LATE_START, start


def due(s: Session, limit: int = 500) -> Sequence[Job]:
    """Queued jobs that a worker could take now, most urgent first."""
    return s.scalars(
        select(Job)
        .where(Job.state == State.QUEUED, Job.run_after <= database_now())
        .order_by(Job.priority.desc(), Job.id)
        .limit(limit)
    ).all()


def overdue(s: Session, for_s: float, limit: int = 100) -> Sequence[Job]:
    """Jobs that have waited for so many seconds behind others of their class, longest first."""
    behind = or_(Job.priority.between(start(), LATE_START - 1), Job.priority < LATE_REST)
    late = Job.state == State.QUEUED, Job.run_after <= database_now(-for_s), behind
    return s.scalars(select(Job).where(*late).order_by(Job.run_after).limit(limit)).all()


def advance(s: Session, job_ids: Sequence[str]) -> Sequence[Job]:
    """Let these go before all of their class, those that still wait; as they are now."""
    still = Job.id.in_(job_ids), Job.state == State.QUEUED
    first = case((Job.priority < start(), LATE_REST), else_=LATE_START)
    s.execute(update(Job).where(*still).values(priority=first).execution_options(synchronize_session=False))
    return s.scalars(select(Job).where(*still).order_by(Job.run_after)).all()


def given_back(s: Session, held: Claim) -> Sequence[Job]:
    """The job, if it was released and can be taken at once."""
    due = Job.state == State.QUEUED, Job.fence == held.fence, Job.run_after <= database_now()
    return s.scalars(select(Job).where(Job.id == held.job_id, *due)).all()


def is_urgent(s: Session, above: int, for_s: float) -> bool:
    """Whether any whole job of a higher priority has found no worker for so many seconds."""
    late = Job.run_after <= database_now(-for_s), Job.parent_id.is_(None)
    urgent = select(Job.id).where(Job.state == State.QUEUED, Job.priority > above, *late)
    return s.execute(urgent.limit(1)).first() is not None
