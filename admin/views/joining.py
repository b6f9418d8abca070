"""Coming in by a letter: signing up, accepting an invitation, confirming an address.

Opening a link changes nothing (mail scanners open them); its button does.
"""

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views import logins as doors
from admin.views.guard import text
from admin.views.rendering import render_gate
from streamer import db, http
from streamer.accounts import limits, logins, throttle
from streamer.accounts.limits import Kind
from streamer.errors import Conflict, Invalid, Problem, RateLimited, Unavailable
from streamer.membership import confirmations, invitations, signups
from streamer.membership.tables import Invitation
from streamer.membership.tickets import Purpose

ASKED = {
    Purpose.SIGN_UP: ("Make your account", "It gets the address {}.", "Make it"),
    Purpose.VERIFY: ("Confirm your address", "{} is the address of your account.", "Confirm"),
    Purpose.CHANGE_ADDRESS: ("Confirm your new address", "Your account gets the address {}.", "Confirm"),
}
SAID = {
    Purpose.SIGN_UP: ("Your account is made", "Sign in as {}."),
    Purpose.VERIFY: ("Your address is confirmed", "{} is yours."),
    Purpose.CHANGE_ADDRESS: ("Your address is changed", "From now on sign in as {}."),
}


def show_sign_up(request: Request) -> Response:
    """The form, where anybody may sign up."""
    signups.refuse_unless_open(http.services(request))
    return _sign_up_form(request, {"name": "", "email": ""})


@limits.counted(Kind.LETTERS)
def sign_up(request: Request, form: FormData) -> Response:
    """A letter is on its way, whoever has the address; or the form again, with what is wrong."""
    services = http.services(request)
    signups.refuse_unless_open(services)
    given = {name: text(form, name) for name in ("name", "email")}
    try:
        throttle.count_letter(services, given["email"], logins.client_address(request))
        signups.ask(services, **given, password=text(form, "password"))
    except (Invalid, RateLimited, Unavailable) as refusal:
        return _sign_up_form(request, given, refusal)
    return look_into_mailbox(request, given["email"])


def show_invitation(request: Request) -> Response:
    """The form that makes the account, if the link is good."""
    return _invitation_form(request, request.query_params.get("token", ""), "")


@limits.counted(Kind.LETTERS)
def accept(request: Request, form: FormData) -> Response:
    """The account, and in."""
    token, name, password = (text(form, field) for field in ("token", "name", "password"))
    try:
        user = invitations.accept(http.services(request), token, name=name, password=password)
    except (Invalid, Conflict, Unavailable) as refusal:
        return _invitation_form(request, token, name, refusal)
    return doors.enter(request, user.email, password)


def show_confirmation(request: Request) -> Response:
    """What the link would confirm, and a button."""
    token = request.query_params.get("token", "")
    with db.reading(http.services(request)) as s:
        purpose, email = confirmations.look(s, token)
    heading, words, yes = ASKED[purpose]
    return render_gate(request, "confirm.html", heading=heading, text=words.format(email), token=token, yes=yes)


@limits.counted(Kind.LETTERS)
def confirm(request: Request, form: FormData) -> Response:
    """It is done."""
    purpose, user = confirmations.confirm(http.services(request), text(form, "token"))
    heading, words = SAID[purpose]
    onward = ("Sign in", "/admin/sign-in") if purpose is Purpose.SIGN_UP else ("Go on", "/admin/account")
    return _said(request, heading, words.format(user.email), *onward, kind="primary")


def look_into_mailbox(request: Request, email: str) -> Response:
    """The answer to whoever asked for a letter; the same whether the address is known or not."""
    words = f"If {email.strip()} can be written to, a letter with a link is on its way there. It may take a minute."
    return _said(request, "Look into your mailbox", words, "Back to signing in", "/admin/sign-in")


def _said(request: Request, heading: str, words: str, onward: str, href: str, kind: str = "") -> Response:
    return render_gate(request, "said.html", heading=heading, text=words, onward=onward, href=href, kind=kind)


def _sign_up_form(request: Request, given: dict[str, str], refusal: Problem | None = None) -> Response:
    least = http.services(request).config.accounts.password_min_chars
    return render_gate(
        request, "sign_up.html", heading="Create an account", refusal=refusal, form=given, password_min=least
    )


def _invitation_form(request: Request, token: str, name: str, refusal: Problem | None = None) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        row: Invitation = invitations.look(s, token)
    return render_gate(
        request,
        "invitation.html",
        heading="You are invited",
        refusal=refusal,
        invitation=row,
        token=token,
        form={"name": name},
        password_min=services.config.accounts.password_min_chars,
    )
