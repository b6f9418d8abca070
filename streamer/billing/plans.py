"""Plans: what people can have. One of them is the default, for everybody who has none of their own. All inside the caller's transaction.

`encode_priority` is one of `urgency.LEVELS`: films of people with a higher one are encoded before others' (see `jobs.urgency`).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from streamer import db, ids
from streamer.accounts import audit
from streamer.billing.tables import Plan, PlanHolder
from streamer.catalog import names
from streamer.errors import Conflict, Invalid, NotFound
from streamer.jobs.urgency import LEVELS


def listed(s: Session) -> Sequence[Plan]:
    """All of them, those whose films come first at the top."""
    return s.scalars(select(Plan).order_by(Plan.encode_priority.desc(), Plan.id)).all()


def get(s: Session, plan_id: str, *, lock: bool = False) -> Plan:
    """One of them, or NotFound. With `lock` it stays as it is until this transaction ends."""
    found = s.get(Plan, plan_id, with_for_update=lock, populate_existing=lock) if ids.is_id(plan_id) else None
    if found is None:
        raise NotFound("There is no plan with this id.")
    return found


def default(s: Session) -> Plan | None:
    """What everybody without a plan has."""
    return s.scalars(select(Plan).where(Plan.is_default).limit(1)).one_or_none()


def create(s: Session, name: str, *, encode_priority: int = 0, is_default: bool = False) -> Plan:
    """A new plan. Invalid when a field can't be used."""
    moment = db.now()
    plan = Plan(
        id=ids.new("pln"),
        name=names.title(name, "name"),
        encode_priority=_level(encode_priority),
        created_at=moment,
        changed_at=moment,
    )
    s.add(plan)
    s.flush()
    if is_default:
        _make_default(s, plan)
    audit.record(s, "plan.create", plan.id, after=_told(plan))
    return plan


def change(
    s: Session,
    plan: Plan,
    *,
    name: str | None = None,
    encode_priority: int | None = None,
    is_default: bool | None = None,
) -> None:
    """Set what is given, on a locked plan. It holds for jobs that are made from now on."""
    before = _told(plan)
    plan.name = plan.name if name is None else names.title(name, "name")
    plan.encode_priority = plan.encode_priority if encode_priority is None else _level(encode_priority)
    if is_default is False and plan.is_default:
        raise Conflict("Make another plan the default; then this one is not.", code="plan_is_default")
    plan.changed_at = db.now()
    s.flush()
    if is_default:
        _make_default(s, plan)
    audit.record(s, "plan.change", plan.id, before=before, after=_told(plan))


def remove(s: Session, plan: Plan) -> None:
    """Delete a locked plan that nobody has."""
    if plan.is_default:
        raise Conflict(
            "Everybody without a plan of their own has this one. Make another one the default first.",
            code="plan_is_default",
        )
    if s.scalars(select(PlanHolder.user_id).where(PlanHolder.plan_id == plan.id).limit(1)).first() is not None:
        raise Conflict("People have this plan. Give them another one first.", code="plan_in_use")
    s.delete(plan)
    audit.record(s, "plan.delete", plan.id, before=_told(plan))


def _make_default(s: Session, plan: Plan) -> None:
    """One statement for all plans, so that two of these at once leave one default."""
    s.execute(update(Plan).values(is_default=Plan.id == plan.id).execution_options(synchronize_session=False))
    s.refresh(plan)


def _level(wanted: int) -> int:
    if wanted not in LEVELS:
        detail = f"must be a whole number from {LEVELS[0]} to {LEVELS[-1]}"
        raise Invalid(f"encode_priority {detail}.", errors=[{"pointer": "/encode_priority", "detail": detail}])
    return wanted


def _told(plan: Plan) -> dict[str, Any]:
    return {"name": plan.name, "encode_priority": plan.encode_priority, "default": plan.is_default}
