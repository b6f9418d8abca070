"""Who has which plan. All inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import audit, users
from streamer.billing import plans
from streamer.billing.tables import Plan, PlanHolder


@dataclass(frozen=True, slots=True)
class Holding:
    """A person's plan: their own `since` then, else the default; None where there is no default either."""

    plan: Plan | None
    since: datetime | None = None


def of(s: Session, user_id: str) -> Holding:
    """Of a person, or NotFound."""
    return _held(s, users.get(s, user_id).id)


def assign(s: Session, user_id: str, plan_id: str | None) -> Holding:
    """Give somebody a plan, or (None) the default. What is queued for them stays where it is."""
    user = users.get(s, user_id)
    s.refresh(user, with_for_update=True)  # who has no row yet has nothing else to wait at
    plan = plans.get(s, plan_id, lock=True) if plan_id else None
    row = s.get(PlanHolder, user.id, populate_existing=True)
    before = row.plan_id if row else None
    if row is None and plan is not None:
        s.add(PlanHolder(user_id=user.id, plan_id=plan.id, since=db.now()))
    elif row is not None and plan is None:
        s.delete(row)
    elif row is not None and plan is not None and row.plan_id != plan.id:
        row.plan_id, row.since = plan.id, db.now()
    s.flush()
    audit.record(s, "user.plan", user.id, before={"plan_id": before}, after={"plan_id": plan and plan.id})
    return _held(s, user.id)


def encode_priority(s: Session, user_id: str | None) -> int:
    """How early this person's films are encoded, one of `urgency.LEVELS`; work that is nobody's goes as the default says."""
    plan = _held(s, user_id).plan if user_id else plans.default(s)
    return plan.encode_priority if plan else 0


def _held(s: Session, user_id: str) -> Holding:
    own = select(Plan, PlanHolder.since).join(PlanHolder, PlanHolder.plan_id == Plan.id)
    found = s.execute(own.where(PlanHolder.user_id == user_id)).one_or_none()
    return Holding(*found) if found else Holding(plans.default(s))
