"""The rows jobs are made of. SQL holds the truth: Redis may be lost at any moment and no job with it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from streamer import cache
from streamer.accounts.tables import User
from streamer.db import Base, Code, Id, Json, UtcDateTime, exact


class State(StrEnum):
    """`queued` waits for `run_after` and a worker; `running` is owned by `lease_owner` until `lease_until`; the rest are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Base):
    """One piece of work on one subject (a version, an asset). With a `parent_id` it is a step of that job, and `step` its name there.

    `fence` grows with each claim and each claim lost, so a worker that was thought dead can change nothing any more. `attempt` counts tries that
    failed by an error, `lost` those whose worker vanished; each has its own limit.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state_run_after", "state", "run_after"),
        Index("ix_jobs_state_lease_until", "state", "lease_until"),
        Index("ix_jobs_state_finished_at", "state", "finished_at"),
        Index("ix_jobs_subject_id_id", "subject_id", "id"),
        Index("ix_jobs_parent_id_id", "parent_id", "id"),
        Index("ix_jobs_parent_id_state_id", "parent_id", "state", "id"),
        Index("ix_jobs_owner_id_parent_id_id", "owner_id", "parent_id", "id"),
        Index("uq_jobs_parent_id_step", "parent_id", "step", unique=True),
        cache.of("jobs"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(Code)
    subject_id: Mapped[str] = mapped_column(Id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey(User.id))
    parent_id: Mapped[str | None] = mapped_column(Id)
    step: Mapped[str | None] = mapped_column(exact(64, ascii_only=True))
    payload: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    state: Mapped[str] = mapped_column(Code, default=State.QUEUED)
    priority: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=1)
    max_attempts: Mapped[int] = mapped_column(default=3)
    lost: Mapped[int] = mapped_column(default=0)
    run_after: Mapped[datetime] = mapped_column(UtcDateTime)
    lease_owner: Mapped[str | None] = mapped_column(exact(128))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Lease(Base):
    """A role that one process holds at a time, such as the scheduler's."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(Code, primary_key=True)
    owner: Mapped[str] = mapped_column(exact(128))
    until: Mapped[datetime] = mapped_column(UtcDateTime)


class Pause(Base):
    """A worker, or all workers of a host, by name: takes nothing new until the row goes."""

    __tablename__ = "pauses"

    name: Mapped[str] = mapped_column(exact(128), primary_key=True)
    since: Mapped[datetime] = mapped_column(UtcDateTime)
