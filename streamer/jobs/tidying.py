"""Jobs that were over long ago, with their steps. What somebody may still retry stays: see `kinds.Kind.lasting`."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from streamer import db, retention
from streamer.jobs import kinds
from streamer.jobs.tables import Job, State
from streamer.services import Services

_MOST = 100  # a job may have dozens of steps


def purge(services: Services) -> int:
    """A chore: remove old jobs; how many that were."""
    return sum(_purge(services, state) for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED))


def _purge(services: Services, state: State) -> int:
    over = Job.state == state, Job.finished_at < retention.before(services.config.retention.jobs_days)
    kept = () if state == State.SUCCEEDED else (Job.kind.not_in(kinds.lasting()),)
    oldest = select(Job.id).where(*over, Job.parent_id.is_(None), *kept).order_by(Job.finished_at)
    with db.reading(services) as s:
        old = s.scalars(oldest.limit(_MOST)).all()
    if old:
        db.retrying(services, lambda s: _remove(s, old, state))
    return len(old)


def _remove(s: Session, job_ids: Sequence[str], state: State) -> None:
    """Those that nobody started again meanwhile."""
    still = s.scalars(select(Job.id).where(Job.id.in_(job_ids), Job.state == state).with_for_update()).all()
    for which in (Job.parent_id.in_(still), Job.id.in_(still)):
        s.execute(delete(Job).where(which).execution_options(synchronize_session=False))
