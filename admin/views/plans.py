"""Plans: the list, one of them, and the plan of a person."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import see, text
from admin.views.rendering import outcome, render
from streamer import db, http
from streamer.accounts import logins
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.billing import holders, plans
from streamer.billing.holders import Holding
from streamer.errors import Conflict, Invalid, Problem

HERE = "/admin/plans"
DONE = {"made": "The plan is made. Give it to people on their page.", "changed": "Saved. It holds for new jobs."}
WORDS = ("In turn", "Early", "Earlier", "First")
"""By `encode_priority`."""


def show(request: Request, who: Principal) -> Response:
    """All plans, and the form for another one."""
    logins.require(request, Permission.PLANS_READ)
    return _list(request, who)


def make(request: Request, who: Principal, form: FormData) -> Response:
    """A new plan; the form again, filled in, when something is wrong with it."""
    logins.require(request, Permission.PLANS_WRITE)
    given = _given(form)
    try:
        db.retrying(http.services(request), lambda s: plans.create(s, **given))
    except Invalid as refusal:
        return _list(request, who, given, refusal)
    return see(f"{HERE}?done=made")


def one(request: Request, who: Principal) -> Response:
    """A plan."""
    logins.require(request, Permission.PLANS_READ)
    return _page(request, who)


def change(request: Request, who: Principal, form: FormData) -> Response:
    """Another name, another turn, or now the default."""
    given = _given(form)

    def write(s: Session) -> None:
        plan = plans.get(s, request.path_params["id"], lock=True)
        # A default's own box can't be unticked: browsers leave it out.
        plans.change(s, plan, **{**given, "is_default": given["is_default"] or plan.is_default})

    return _done(request, who, write, f"{HERE}/{request.path_params['id']}?done=changed", given)


def delete(request: Request, who: Principal, form: FormData) -> Response:
    """Removes a plan that nobody has."""
    return _done(request, who, lambda s: plans.remove(s, plans.get(s, request.path_params["id"], lock=True)), HERE)


def give(request: Request, who: Principal, form: FormData) -> Response:
    """The plan of a person; none is the default."""
    logins.require(request, Permission.PLANS_WRITE)
    user_id, plan_id = request.path_params["id"], text(form, "plan_id") or None
    db.retrying(http.services(request), lambda s: holders.assign(s, user_id, plan_id))
    return see(f"/admin/people/{user_id}?done=plan")


def of_person(s: Session, who: Principal, user_id: str) -> dict[str, Any]:
    """What the page of a person says of their plan: nothing to whoever may not see plans."""
    if not who.can(Permission.PLANS_READ):
        return {"holding": None}
    held, usual = holders.of(s, user_id), plans.default(s)
    default = f"The default ({usual.name})" if usual else "None"
    return {
        "holding": said(held) or "None",
        "plan_id": held.plan.id if held.plan and held.since else "",
        "plans": [("", default), *((plan.id, plan.name) for plan in plans.listed(s))],
        "may_give_plans": who.can(Permission.PLANS_WRITE),
    }


def said(held: Holding) -> str:
    """The plan somebody has, in words; empty when there is none."""
    if held.plan is None:
        return ""
    return held.plan.name if held.since else f"{held.plan.name}, the default"


def _given(form: FormData) -> dict[str, Any]:
    level = text(form, "encode_priority")
    return {
        "name": text(form, "name"),
        "encode_priority": int(level) if level in {str(number) for number in range(len(WORDS))} else 0,
        "is_default": text(form, "default") == "yes",
    }


def _done(
    request: Request,
    who: Principal,
    write: Callable[[Session], object],
    then: str,
    given: dict[str, Any] | None = None,
) -> Response:
    logins.require(request, Permission.PLANS_WRITE)
    try:
        db.retrying(http.services(request), write)
    except (Invalid, Conflict) as refusal:
        return _page(request, who, given, refusal)
    return see(then)


def _list(
    request: Request, who: Principal, given: dict[str, Any] | None = None, refusal: Problem | None = None
) -> Response:
    with db.reading(http.services(request)) as s:
        rows = plans.listed(s)
    form = given or {"name": "", "encode_priority": 0, "is_default": False}
    return render(
        request,
        who,
        "plans/list.html",
        section="people",
        heading="Plans",
        rows=rows,
        form=form,
        **_common(request, who, refusal),
    )


def _page(
    request: Request, who: Principal, given: dict[str, Any] | None = None, refusal: Problem | None = None
) -> Response:
    with db.reading(http.services(request)) as s:
        plan = plans.get(s, request.path_params["id"])
    return render(
        request,
        who,
        "plans/plan.html",
        section="people",
        heading=plan.name,
        plan=plan,
        form=given or plan,
        **_common(request, who, refusal),
    )


def _common(request: Request, who: Principal, refusal: Problem | None) -> dict[str, Any]:
    return {
        "words": WORDS,
        "may_change": who.can(Permission.PLANS_WRITE),
        "may_see_people": who.can(Permission.USERS_READ),
        **outcome(request, refusal, DONE),
    }
