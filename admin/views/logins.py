"""Signing in and out. The sign-in form needs no token (there is no session yet); it must come from our own origin."""

from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import SIGN_IN, see, text
from admin.views.rendering import render_gate
from streamer import db, http
from streamer.accounts import limits, logins, users
from streamer.accounts.limits import Kind
from streamer.accounts.logins import Principal, SignedIn
from streamer.errors import Problem, Unauthenticated

HOME = "/admin"
DONE = {
    "password": "Your new password is set. Sign in with it.",
    "erased": "Your account is erased. Goodbye.",
}


def show(request: Request) -> Response:
    """The sign-in page, or straight on for somebody who is signed in."""
    following = local(request.query_params.get("next", ""))
    who = logins.principal(request)
    if who and who.session_id:
        return see(following)
    return _form(request, following=following)


@limits.counted(Kind.SIGN_IN)
def sign_in(request: Request, form: FormData) -> Response:
    """The form's answer: on to the page they wanted, or the form again with the reason."""
    following = local(text(form, "next"))
    try:
        return enter(request, text(form, "email"), text(form, "password"), following)
    except logins.SecondFactorNeeded as needed:
        return ask_code(request, needed.challenge, following)
    except Problem as refusal:
        return _form(request, following=following, email=text(form, "email"), refusal=refusal)


@limits.counted(Kind.SIGN_IN)
def answer(request: Request, form: FormData) -> Response:
    """The code's answer: on to the page they wanted, the form for another code, or back to the password."""
    following, challenge = local(text(form, "next")), text(form, "challenge")
    try:
        return _entered(request, logins.answer(request, challenge, text(form, "code")), following)
    except Unauthenticated as refusal:
        return _form(request, following=following, refusal=refusal)
    except Problem as refusal:
        return ask_code(request, challenge, following, refusal)


def enter(request: Request, email: str, password: str, following: str = HOME) -> Response:
    """Start a session and go on to a page of ours."""
    return _entered(request, logins.sign_in(request, email, password), following)


def sign_out(request: Request, who: Principal, form: FormData) -> Response:
    """Ends the session here and on the server."""
    logins.sign_out(request)
    response = see(SIGN_IN)
    logins.clear_cookie(request, response)
    return response


def again(request: Request, following: str, refusal: Problem) -> Response:
    """The sign-in page, with why another way did not work."""
    return _form(request, following=following, refusal=refusal)


def _entered(request: Request, signed_in: SignedIn, following: str) -> Response:
    response = see(following)
    logins.set_cookie(request, response, signed_in)
    return response


def ask_code(request: Request, challenge: str, following: str, refusal: Problem | None = None) -> Response:
    """The form for a code of the app."""
    return render_gate(
        request, "code.html", heading="One more step", refusal=refusal, challenge=challenge, next=following
    )


def _form(request: Request, *, following: str, email: str = "", refusal: Problem | None = None) -> Response:
    services = http.services(request)
    accounts = services.config.accounts
    with db.reading(services) as s:
        no_users = not users.any_exist(s)
    done = DONE.get(request.query_params.get("done", ""), "")
    return render_gate(
        request,
        "sign_in.html",
        heading="Sign in",
        refusal=refusal,
        next=following,
        email=email,
        no_users=no_users,
        providers=[(one.shown, f"{SIGN_IN}/{one.name}?next={quote(following)}") for one in accounts.providers],
        done="" if refusal else done,
        may_sign_up=accounts.sign_up == "open",
    )


def local(path: str) -> str:
    """Where to go afterwards: a path on this server and nothing a browser could read as another host."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain else HOME
