"""Plans over JSON, and the plan of a person."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http, ids
from streamer.accounts import doors, logins
from streamer.accounts.roles import Permission
from streamer.billing import holders, plans
from streamer.billing.holders import Holding
from streamer.billing.tables import Plan
from streamer.jobs.urgency import LEVELS
from streamer.operations import Id, Listed, Operation, Time

Level = Annotated[int, Field(ge=LEVELS[0], le=LEVELS[-1], description="Films of a higher one are encoded first.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewPlan(_Body):
    """The default is for everybody who has no plan of their own; there is one at most."""

    name: str
    encode_priority: Level = 0
    default: bool = False


class PlanChange(_Body):
    """Members that are absent stay as they are. A plan stops being the default when another one becomes it."""

    name: str | None = None
    encode_priority: Level | None = None
    default: bool | None = None


class PlanChoice(_Body):
    """null is the default."""

    plan_id: str | None = Field(pattern=ids.PATTERN)


class PlanDocument(TypedDict):
    """What somebody may have; everybody without a plan of their own has the default."""

    id: Id
    name: str
    encode_priority: Level
    default: bool
    created_at: Time
    changed_at: Time


class HoldingDocument(TypedDict):
    """The plan that holds for a person. `since` is null where it is not their own but the default; both are null where there is no default."""

    plan: PlanDocument | None
    since: Time | None


def list_plans(request: Request) -> Response:
    """All of them: there are never so many that they would need pages."""
    with db.reading(http.services(request)) as s:
        return JSONResponse({"data": [_document(plan) for plan in plans.listed(s)]})


def create_plan(request: Request) -> Response:
    body = http.read(request, NewPlan)

    def create(s: Session) -> Plan:
        return plans.create(s, body.name, encode_priority=body.encode_priority, is_default=body.default)

    plan = db.retrying(http.services(request), create)
    return JSONResponse(_document(plan), 201, {"Location": f"/api/v1/plans/{plan.id}"})


def read_plan(request: Request) -> Response:
    with db.reading(http.services(request)) as s:
        return JSONResponse(_document(plans.get(s, request.path_params["id"])))


def change_plan(request: Request) -> Response:
    body = http.read(request, PlanChange)

    def change(s: Session) -> Plan:
        plan = plans.get(s, request.path_params["id"], lock=True)
        plans.change(s, plan, name=body.name, encode_priority=body.encode_priority, is_default=body.default)
        return plan

    return JSONResponse(_document(db.retrying(http.services(request), change)))


def delete_plan(request: Request) -> Response:
    """Nobody may have it."""

    def delete(s: Session) -> None:
        plans.remove(s, plans.get(s, request.path_params["id"], lock=True))

    db.retrying(http.services(request), delete)
    return Response(status_code=204)


def read_own(request: Request) -> Response:
    """One's own; nobody needs a permission for that."""
    with db.reading(http.services(request)) as s:
        return JSONResponse(_holding(holders.of(s, logins.require(request).user_id)))


def read_holding(request: Request) -> Response:
    with db.reading(http.services(request)) as s:
        return JSONResponse(_holding(holders.of(s, request.path_params["id"])))


def set_holding(request: Request) -> Response:
    """It holds for what is uploaded from now on."""
    body, user_id = http.read(request, PlanChoice), request.path_params["id"]
    held = db.retrying(http.services(request), lambda s: holders.assign(s, user_id, body.plan_id))
    return JSONResponse(_holding(held))


def _document(plan: Plan) -> PlanDocument:
    return {
        "id": plan.id,
        "name": plan.name,
        "encode_priority": plan.encode_priority,
        "default": plan.is_default,
        "created_at": http.time(plan.created_at),
        "changed_at": http.time(plan.changed_at),
    }


def _holding(held: Holding) -> HoldingDocument:
    return {"plan": _document(held.plan) if held.plan else None, "since": http.time(held.since)}


_READ, _WRITE = doors.allowed(Permission.PLANS_READ), doors.allowed(Permission.PLANS_WRITE)

routes = [
    doors.route("/plans", list_plans, Operation("GET", "List plans", _READ, Listed[PlanDocument])),
    doors.route("/plans", create_plan, Operation("POST", "Make a plan", _WRITE, PlanDocument, 201, body=NewPlan)),
    doors.route("/plans/{id}", read_plan, Operation("GET", "Read a plan", _READ, PlanDocument)),
    doors.route(
        "/plans/{id}",
        change_plan,
        Operation("PATCH", "Change a plan", _WRITE, PlanDocument, body=PlanChange, refuses=(409,)),
    ),
    doors.route("/plans/{id}", delete_plan, Operation("DELETE", "Delete a plan", _WRITE, status=204, refuses=(409,))),
    doors.route("/me/plan", read_own, Operation("GET", "Read your plan", doors.ACCOUNT, HoldingDocument)),
    doors.route("/users/{id}/plan", read_holding, Operation("GET", "Read somebody's plan", _READ, HoldingDocument)),
    doors.route(
        "/users/{id}/plan",
        set_holding,
        Operation("PUT", "Give somebody a plan", _WRITE, HoldingDocument, body=PlanChoice),
    ),
]
