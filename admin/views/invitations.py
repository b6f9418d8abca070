"""Invitations: who may still come, sending one, withdrawing one."""

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import see, text
from admin.views.rendering import outcome, render
from streamer import db, http
from streamer.accounts import logins, rolebook, users
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission, Role
from streamer.errors import Conflict, Forbidden, Invalid, Problem
from streamer.membership import invitations

HERE = "/admin/invitations"
DONE = {"sent": "The invitation is on its way.", "withdrawn": "The invitation is withdrawn; its link opens nothing."}


def show(request: Request, who: Principal) -> Response:
    """Those that can be accepted."""
    logins.require(request, Permission.USERS_READ)
    return _page(request, who)


def invite(request: Request, who: Principal, form: FormData) -> Response:
    """A letter to somebody; the form again, filled in, when something is wrong with it."""
    logins.require(request, Permission.USERS_WRITE)
    given = {name: text(form, name) for name in ("email", "role")}
    try:
        invitations.invite(http.services(request), **given, by=who.user_id, held=who.permissions)
    except (Invalid, Conflict, Forbidden) as refusal:
        return _page(request, who, refusal=refusal, given=given)
    return see(f"{HERE}?done=sent")


def revoke(request: Request, who: Principal, form: FormData) -> Response:
    """Withdraw one."""
    logins.require(request, Permission.USERS_WRITE)
    try:
        db.retrying(http.services(request), lambda s: invitations.revoke(s, request.path_params["id"]))
    except Conflict as refusal:
        return _page(request, who, refusal=refusal)
    return see(f"{HERE}?done=withdrawn")


def _page(
    request: Request, who: Principal, *, refusal: Problem | None = None, given: dict[str, str] | None = None
) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        rows = invitations.pending(s)
        names = users.names(s, (row.invited_by for row in rows if row.invited_by))
        roles = rolebook.choices(s, who.permissions)
    return render(
        request,
        who,
        "invitations/list.html",
        section="people",
        heading="Invitations",
        **outcome(request, refusal, DONE),
        rows=rows,
        names=names,
        roles=roles,
        form=given or {"email": "", "role": Role.MEMBER},
        closed=services.config.accounts.sign_up == "closed",
        may_change=who.can(Permission.USERS_WRITE),
    )
