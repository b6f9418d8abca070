"""Roles: what each may do, and making, changing and deleting those that are not built in."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import see, text
from admin.views.rendering import render
from streamer import db, http
from streamer.accounts import logins, rolebook
from streamer.accounts.logins import Principal
from streamer.accounts.roles import MEANING, Permission
from streamer.errors import Conflict, Forbidden, Invalid, Problem

HERE = "/admin/roles"
GROUPS = (("any", "Everyone's"), ("own", "Their own"), ("site", "This installation's"))
DONE = {"made": "The role is made. Give it to people on their page.", "changed": "Saved."}


@dataclass(frozen=True, slots=True)
class Choice:
    """A permission as the forms show it; `mine` if whoever looks has it, and so may hand it out."""

    permission: Permission
    meaning: str
    mine: bool


def show(request: Request, who: Principal) -> Response:
    """All roles, and the form for another one."""
    logins.require(request, Permission.ROLES_READ)
    return _list(request, who)


def make(request: Request, who: Principal, form: FormData) -> Response:
    """A new role; the form again, filled in, when something is wrong with it."""
    logins.require(request, Permission.ROLES_WRITE)
    name, wanted = text(form, "name").strip(), _wanted(form)
    try:
        db.retrying(http.services(request), lambda s: rolebook.create(s, name, wanted, who.permissions))
    except (Invalid, Conflict, Forbidden) as refusal:
        return _list(request, who, refusal=refusal, name=name, wanted=wanted)
    return see(f"{HERE}/{name}?done=made")


def one(request: Request, who: Principal) -> Response:
    """A role and what it may do."""
    logins.require(request, Permission.ROLES_READ)
    return _page(request, who, done=DONE.get(request.query_params.get("done", ""), ""))


def change(request: Request, who: Principal, form: FormData) -> Response:
    """Other permissions."""
    logins.require(request, Permission.ROLES_WRITE)
    name, wanted = request.path_params["name"], _wanted(form)
    try:
        db.retrying(http.services(request), lambda s: rolebook.change(s, name, wanted, who.permissions))
    except (Invalid, Conflict, Forbidden) as refusal:
        return _page(request, who, refusal=refusal, wanted=wanted)
    return see(f"{HERE}/{name}?done=changed")


def delete(request: Request, who: Principal, form: FormData) -> Response:
    """Removes a role that nobody has."""
    logins.require(request, Permission.ROLES_WRITE)
    name = request.path_params["name"]
    try:
        db.retrying(http.services(request), lambda s: rolebook.delete(s, name, who.permissions))
    except (Conflict, Forbidden) as refusal:
        return _page(request, who, refusal=refusal)
    return see(HERE)


def _list(
    request: Request, who: Principal, *, refusal: Problem | None = None, name: str = "", wanted: Collection[str] = ()
) -> Response:
    with db.reading(http.services(request)) as s:
        entries = rolebook.counted(s)
    return render(
        request,
        who,
        "roles/list.html",
        section="people",
        heading="Roles",
        entries=entries,
        name=name,
        **_common(who, wanted, refusal),
    )


def _page(
    request: Request,
    who: Principal,
    *,
    refusal: Problem | None = None,
    wanted: Collection[str] | None = None,
    done: str = "",
) -> Response:
    with db.reading(http.services(request)) as s:
        role = rolebook.entry(s, request.path_params["name"])
    return render(
        request,
        who,
        "roles/role.html",
        section="people",
        heading=role.name,
        role=role,
        done=done,
        beyond=not role.permissions <= who.permissions,
        **_common(who, role.permissions if wanted is None else wanted, refusal),
    )


def _common(who: Principal, wanted: Collection[str], refusal: Problem | None) -> dict[str, Any]:
    choices = [Choice(one, MEANING[one], who.can(one)) for one in Permission]
    return {
        "status": refusal.status if refusal else 200,
        "problem": (refusal.detail or refusal.title) if refusal else "",
        "groups": [(words, [one for one in choices if one.permission.startswith(f"{key}:")]) for key, words in GROUPS],
        "wanted": wanted,
        "may_change": who.can(Permission.ROLES_WRITE),
    }


def _wanted(form: FormData) -> list[str]:
    return [value for value in form.getlist("permissions") if isinstance(value, str)]
