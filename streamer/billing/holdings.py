"""What billing holds of a person: their plan. See `accounts.holdings`."""

from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from streamer import http
from streamer.accounts.holdings import Erasure, Section
from streamer.billing.tables import Plan, PlanHolder

COLUMNS = ("plan_holders.user_id",)


def export(s: Session, user_id: str) -> Iterable[Section]:
    """The plan of their own, if they have one."""
    query = select(Plan, PlanHolder.since).join(PlanHolder, PlanHolder.plan_id == Plan.id)
    found = s.execute(query.where(PlanHolder.user_id == user_id)).all()
    yield "plans", ({"id": plan.id, "name": plan.name, "since": http.time(since)} for plan, since in found)


def erase(s: Session, erasure: Erasure) -> None:
    """They have none any more; an heir of their films keeps what they have."""
    s.execute(delete(PlanHolder).where(PlanHolder.user_id == erasure.user.id))
