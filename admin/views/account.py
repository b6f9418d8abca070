"""One's own account: what it says, how one signs in and where, one's data, and its end."""

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views import plans
from admin.views.guard import SIGN_IN, see, text
from admin.views.rendering import outcome, render
from streamer import db, http
from streamer.accounts import devices, login_sessions, logins, second_factor, throttle, users
from streamer.accounts.logins import Principal
from streamer.billing import holders
from streamer.errors import Conflict, Forbidden, Invalid, Problem, RateLimited
from streamer.membership import addresses, own_password, persons
from streamer.membership.oidc import links

HERE = "/admin/account"
DONE = {
    "verification": "A letter is on its way. Its link confirms the address.",
    "password": "Your password is changed, and all other devices are signed out.",
    "provider": "The link is ended. Whoever signs in by it starts anew.",
    "session": "That device is signed out.",
    "sessions": "All other devices are signed out.",
    "address": "If that address can be written to, a letter is on its way there. Its link makes the change.",
}


def show(request: Request, who: Principal) -> Response:
    """The account of whoever is signed in."""
    return _page(request, who)


def verify(request: Request, who: Principal, form: FormData) -> Response:
    """A letter to the address the account has."""
    services = http.services(request)
    try:
        throttle.count_letter(services, who.email, logins.client_address(request))
    except RateLimited as refusal:
        return _page(request, who, refusal=refusal)
    addresses.ask_to_verify(services, who.user_id)
    return see(f"{HERE}?done=verification")


def change_password(request: Request, who: Principal, form: FormData) -> Response:
    """A new password, for whoever knows the old one, and a new session here."""
    old, new = text(form, "password"), text(form, "new_password")
    try:
        logins.check_password(request, who, old)
        user = own_password.change(http.services(request), who.user_id, old, new)
    except (Invalid, Forbidden, RateLimited) as refusal:
        return _page(request, who, refusal=refusal)
    response = see(f"{HERE}?done=password")
    logins.set_cookie(request, response, logins.renew(request, user))
    return response


def change_address(request: Request, who: Principal, form: FormData) -> Response:
    """A letter to another address, for whoever knows the password."""
    services, email = http.services(request), text(form, "email")
    try:
        throttle.count_letter(services, email, logins.client_address(request))
        logins.check_password(request, who, text(form, "password"))
        addresses.ask_to_change(services, who.user_id, email)
    except (Invalid, Forbidden, RateLimited) as refusal:
        return _page(request, who, refusal=refusal, email=email)
    return see(f"{HERE}?done=address")


def erase(request: Request, who: Principal, form: FormData) -> Response:
    """The account and its films, for good, for whoever knows the password."""
    try:
        logins.check_password(request, who, text(form, "password"))
        persons.erase(http.services(request), who.user_id)
    except (Conflict, Forbidden, RateLimited) as refusal:
        return _page(request, who, refusal=refusal)
    response = see(f"{SIGN_IN}?done=erased")
    logins.clear_cookie(request, response)
    return response


def end_session(request: Request, who: Principal, form: FormData) -> Response:
    """Signs out in one place."""
    login_sessions.end_one(http.services(request), who.user_id, request.path_params["id"])
    return see(f"{HERE}?done=session")


def unlink(request: Request, who: Principal, form: FormData) -> Response:
    """Signs in by that provider no longer."""
    db.retrying(http.services(request), lambda s: links.remove(s, who.user_id, request.path_params["id"]))
    return see(f"{HERE}?done=provider")


def end_others(request: Request, who: Principal, form: FormData) -> Response:
    """Signs out everywhere else."""
    login_sessions.end_all(http.services(request), who.user_id, but=who.session_id)
    return see(f"{HERE}?done=sessions")


def _page(request: Request, who: Principal, *, refusal: Problem | None = None, email: str = "") -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        sessions = login_sessions.live(s, services.config.accounts, who.user_id)
        person = users.get(s, who.user_id)
        has_second_factor = second_factor.is_on(s, who.user_id)
        linked = links.of(s, who.user_id)
        plan = plans.said(holders.of(s, who.user_id))
    shown = {one.name: one.shown for one in services.config.accounts.providers}
    return render(
        request,
        who,
        "account/page.html",
        section="account",
        heading="Your account",
        **outcome(request, refusal, DONE),
        person=person,
        plan=plan,
        has_second_factor=has_second_factor,
        linked=[(row.id, shown.get(row.provider, row.provider)) for row in linked],
        sessions=[(row, devices.name(row.user_agent), row.id == who.session_id) for row in sessions],
        form={"email": email},
        password_min=services.config.accounts.password_min_chars,
    )
