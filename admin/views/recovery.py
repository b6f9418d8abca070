"""A forgotten password: asking for a letter, and the page that its link opens."""

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import see, text
from admin.views.joining import look_into_mailbox
from admin.views.rendering import render_gate
from streamer import db, http
from streamer.accounts import limits, logins, throttle
from streamer.accounts.limits import Kind
from streamer.errors import Invalid, Problem, RateLimited, Unavailable
from streamer.membership import recovery as passwords


def show_forgotten(request: Request) -> Response:
    """Which address?"""
    return _forgotten_form(request, "")


@limits.counted(Kind.LETTERS)
def forgotten(request: Request, form: FormData) -> Response:
    """A letter is on its way if somebody has the address, and the answer is this one in any case."""
    services, email = http.services(request), text(form, "email")
    try:
        throttle.count_letter(services, email, logins.client_address(request))
        passwords.ask(services, email)
    except (Invalid, RateLimited, Unavailable) as refusal:
        return _forgotten_form(request, email, refusal)
    return look_into_mailbox(request, email)


def show_reset(request: Request) -> Response:
    """The form for the new password, if the link is good."""
    return _reset_form(request, request.query_params.get("token", ""))


@limits.counted(Kind.LETTERS)
def reset(request: Request, form: FormData) -> Response:
    """It is set; they sign in with it."""
    token = text(form, "token")
    try:
        passwords.reset(http.services(request), token, text(form, "password"))
    except (Invalid, Unavailable) as refusal:
        return _reset_form(request, token, refusal)
    return see("/admin/sign-in?done=password")


def _forgotten_form(request: Request, email: str, refusal: Problem | None = None) -> Response:
    form = {"email": email}
    return render_gate(request, "forgotten.html", heading="Forgotten your password?", refusal=refusal, form=form)


def _reset_form(request: Request, token: str, refusal: Problem | None = None) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        owner = passwords.look(s, token)
    least = services.config.accounts.password_min_chars
    return render_gate(
        request,
        "reset.html",
        heading="Set a new password",
        refusal=refusal,
        owner=owner,
        token=token,
        password_min=least,
    )
