"""Accounts: listed, added, given another role, shut out and let in again, erased."""

from functools import partial
from typing import Any

from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views import plans
from admin.views.guard import see, text
from admin.views.rendering import render
from streamer import db, http
from streamer.accounts import login_sessions, logins, rolebook, second_factor, users
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission, Role
from streamer.accounts.tables import User
from streamer.errors import Conflict, Forbidden, Invalid, Problem
from streamer.membership import persons, persons_api

HERE = "/admin/people"
DONE = {
    "erased": "The account is erased.",
    "plan": "The plan is given. It holds for what they upload from now on.",
    "role": "The new role holds from their next click on.",
    "second-factor": "The second factor is gone. They sign in with the password alone, until they set up another one.",
}
_FIELDS = ("name", "email", "role")
_SHOWN = 500


def show(request: Request, who: Principal) -> Response:
    """Everybody with an account."""
    logins.require(request, Permission.USERS_READ)
    return _page(request, who)


def add(request: Request, who: Principal, form: FormData) -> Response:
    """A new account; the form again, filled in, when something is wrong with it."""
    logins.require(request, Permission.USERS_WRITE)
    services = http.services(request)
    given = {name: text(form, name) for name in (*_FIELDS, "password")}
    try:
        db.retrying(services, lambda s: users.create(s, services.config.accounts, held=who.permissions, **given))
    except (Invalid, Conflict, Forbidden) as refusal:
        return _page(request, who, refusal=refusal, given=given)
    return see(HERE)


def one(request: Request, who: Principal) -> Response:
    """A person."""
    logins.require(request, Permission.USERS_READ)
    return _person(request, who, done=DONE.get(request.query_params.get("done", ""), ""))


def set_role(request: Request, who: Principal, form: FormData) -> Response:
    """Another role."""
    logins.require(request, Permission.USERS_WRITE)
    user_id, role = request.path_params["id"], text(form, "role")
    try:
        db.retrying(http.services(request), lambda s: users.set_role(s, user_id, role, who.permissions, who.user_id))
    except (Invalid, Conflict, Forbidden) as refusal:
        return _person(request, who, refusal=refusal, role=role)
    return see(f"{HERE}/{user_id}?done=role")


def take_second_factor(request: Request, who: Principal, form: FormData) -> Response:
    """For somebody who has lost the app and the recovery codes."""
    logins.require(request, Permission.USERS_WRITE)
    user_id = request.path_params["id"]
    work = partial(second_factor.take_away, user_id=user_id, held=who.permissions, by=who.user_id)
    try:
        db.retrying(http.services(request), work)
    except (Conflict, Forbidden) as refusal:
        return _person(request, who, refusal=refusal)
    return see(f"{HERE}/{user_id}?done=second-factor")


def set_disabled(request: Request, who: Principal, form: FormData) -> Response:
    """Shuts an account out, ending its sessions, or lets it in again."""
    logins.require(request, Permission.USERS_WRITE)
    services = http.services(request)
    user_id, disabled = request.path_params["id"], text(form, "disabled") == "yes"
    try:
        db.retrying(services, lambda s: users.set_disabled(s, user_id, disabled, who.permissions, who.user_id))
    except (Conflict, Forbidden) as refusal:
        return _page(request, who, refusal=refusal)
    if disabled:
        login_sessions.end_all(services, user_id)
    return see(HERE)


def erase(request: Request, who: Principal, form: FormData) -> Response:
    """For good; the person's address has to be typed, so that nobody erases the wrong one."""
    logins.require(request, Permission.USERS_WRITE)
    user_id = request.path_params["id"]
    try:
        persons_api.refuse_own(who.user_id, user_id)
        with db.reading(http.services(request)) as s:
            email = users.get(s, user_id).email
        if text(form, "email").strip().casefold() != email:
            raise Invalid("That is not the e-mail address of this person, so nothing was erased.")
        heir_id = text(form, "films_to") or None
        persons.erase(http.services(request), user_id, heir_id=heir_id, held=who.permissions)
    except (Invalid, Conflict, Forbidden) as refusal:
        return _person(request, who, refusal=refusal)
    return see(f"{HERE}?done=erased")


def _page(
    request: Request, who: Principal, *, refusal: Problem | None = None, given: dict[str, str] | None = None
) -> Response:
    with db.reading(http.services(request)) as s:
        people = s.scalars(users.listed().order_by(User.id).limit(_SHOWN)).all()
        common = _common(s, who, refusal)
    return render(
        request,
        who,
        "people/list.html",
        section="people",
        heading="People",
        people=people,
        form=given or dict.fromkeys(_FIELDS, "") | {"role": Role.EDITOR},
        password_min=http.services(request).config.accounts.password_min_chars,
        may_see_plans=who.can(Permission.PLANS_READ),
        may_see_roles=who.can(Permission.ROLES_READ),
        may_see_audit=who.can(Permission.AUDIT_READ),
        done=DONE.get(request.query_params.get("done", ""), ""),
        **common,
    )


def _person(
    request: Request, who: Principal, *, refusal: Problem | None = None, role: str = "", done: str = ""
) -> Response:
    with db.reading(http.services(request)) as s:
        person = users.get(s, request.path_params["id"])
        has_second_factor = second_factor.is_on(s, person.id)
        beyond = not rolebook.permissions(s, person.role) <= who.permissions
        heirs = s.scalars(users.listed().where(User.disabled_at.is_(None), User.id != person.id).limit(_SHOWN)).all()
        common = _common(s, who, refusal) | plans.of_person(s, who, person.id)
    return render(
        request,
        who,
        "people/person.html",
        section="people",
        heading=person.name,
        person=person,
        role=role or person.role,
        beyond=beyond,
        has_second_factor=has_second_factor,
        heirs=[("", "Nobody: they are deleted"), *((heir.id, f"{heir.name} ({heir.email})") for heir in heirs)],
        may_see_audit=who.can(Permission.AUDIT_READ),
        done=done,
        **common,
    )


def _common(s: Session, who: Principal, refusal: Problem | None) -> dict[str, Any]:
    """`roles` are those that whoever looks may give."""
    return {
        "status": refusal.status if refusal else 200,
        "problem": (refusal.detail or refusal.title) if refusal else "",
        "roles": rolebook.choices(s, who.permissions),
        "may_change": who.can(Permission.USERS_WRITE),
        "own_id": who.user_id,
    }
