"""Steps: parts of a job that any worker may do, as jobs with a parent.

A step has its own lease, fence, tries and progress. It ends with its parent, which waits for its steps, does some of them itself and is the
only one that is told how they end. All inside the caller's transaction.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from streamer.db import database_now
from streamer.jobs import jobs, urgency
from streamer.jobs.jobs import Claim
from streamer.jobs.tables import Job, State


def offer(
    s: Session, held: Claim, kind: str, wanted: Mapping[str, dict[str, Any]], *, max_attempts: int, priority: int
) -> None:
    """The steps by these names, each with its payload: new ones, those there are, and again those that failed. Dispatch them after the commit."""
    there = {job.step: job for job in of(s, held.job_id)}
    for name, payload in wanted.items():
        if name in there:
            jobs.restart(s, there[name].id)
        else:
            jobs.enqueue(
                s, kind, held.subject_id, max_attempts=max_attempts, payload=payload, priority=priority, step_of=(held.job_id, name)
            )  # fmt: skip


def of(s: Session, job_id: str) -> Sequence[Job]:
    """The job's steps in the order of their names."""
    mine = select(Job).where(Job.parent_id == job_id).order_by(Job.step)
    return s.scalars(mine.execution_options(populate_existing=True)).all()


def due(s: Session, job_id: str) -> Sequence[Job]:
    """Those that nobody has in hand and that may be tried now."""
    ready = Job.parent_id == job_id, Job.state == State.QUEUED, Job.run_after <= database_now()
    return s.scalars(select(Job).where(*ready).order_by(Job.step)).all()


def stop(s: Session, held: Claim) -> None:
    """All of them: what they would make is not wanted any more."""
    jobs.stop_steps(s, held.job_id)


def record(s: Session, held: Claim, **facts: Any) -> None:
    """What a step wants its parent to know, with its payload."""
    job = s.get_one(Job, held.job_id)
    job.payload = {**job.payload, **facts}


def lower(s: Session, held: Claim, priority: int) -> None:
    """The most urgent part of the job is done: from now on it waits behind others' most urgent parts. One that was late for the rest stays first there."""
    begun = Job.id == held.job_id, Job.priority >= urgency.start()
    s.execute(update(Job).where(*begun).values(priority=priority))


def are_running(s: Session, held: Claim, worker: str) -> bool:
    """Whether the worker has steps of the job in hand."""
    mine = Job.parent_id == held.job_id, Job.state == State.RUNNING, Job.lease_owner == worker
    return s.execute(select(Job.id).where(*mine).limit(1)).first() is not None
