"""Accounts: listed, added, shut out and let in again."""

from sqlalchemy import select
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import see, text
from admin.views.rendering import render
from streamer import db
from streamer.accounts import login_sessions, logins, users
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission, Role
from streamer.accounts.tables import User
from streamer.errors import Conflict, Invalid, Problem

HERE = "/admin/people"
ROLES = ((Role.ADMIN, "Admin"), (Role.EDITOR, "Editor"), (Role.VIEWER, "Viewer"))
_FIELDS = ("name", "email", "role")
_SHOWN = 500


def show(request: Request, who: Principal) -> Response:
    """Everybody with an account."""
    logins.require(request, Permission.USERS_READ)
    return _page(request, who)


def add(request: Request, who: Principal, form: FormData) -> Response:
    """A new account; the form again, filled in, when something is wrong with it."""
    logins.require(request, Permission.USERS_WRITE)
    services = request.app.state.services
    given = {name: text(form, name) for name in (*_FIELDS, "password")}
    try:
        db.retrying(services, lambda s: users.create(s, services.config.accounts, **given))
    except (Invalid, Conflict) as refusal:
        return _page(request, who, refusal=refusal, given=given)
    return see(HERE)


def set_disabled(request: Request, who: Principal, form: FormData) -> Response:
    """Shuts an account out, ending its sessions, or lets it in again."""
    logins.require(request, Permission.USERS_WRITE)
    services = request.app.state.services
    user_id, disabled = request.path_params["id"], text(form, "disabled") == "yes"
    try:
        db.retrying(services, lambda s: users.set_disabled(s, user_id, disabled))
    except Conflict as refusal:
        return _page(request, who, refusal=refusal)
    if disabled:
        login_sessions.end_all(services, user_id)
    return see(HERE)


def _page(
    request: Request, who: Principal, *, refusal: Problem | None = None, given: dict[str, str] | None = None
) -> Response:
    with db.reading(request.app.state.services) as s:
        people = s.scalars(select(User).order_by(User.id).limit(_SHOWN)).all()
    return render(
        request,
        who,
        "people/list.html",
        section="people",
        heading="People",
        status=refusal.status if refusal else 200,
        people=people,
        roles=ROLES,
        form=given or dict.fromkeys(_FIELDS, "") | {"role": Role.EDITOR},
        problem=(refusal.detail or refusal.title) if refusal else "",
        may_change=who.can(Permission.USERS_WRITE),
        password_min=request.app.state.services.config.accounts.password_min_chars,
        own_id=who.user_id,
    )
