"""Signing in and out. The sign-in form needs no token (there is no session yet); it must come from our own origin."""

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import SIGN_IN, see, text
from admin.views.rendering import TEMPLATES
from streamer import db
from streamer.accounts import logins, users
from streamer.accounts.logins import Principal
from streamer.errors import Problem

HOME = "/admin"


def show(request: Request) -> Response:
    """The sign-in page, or straight on for somebody who is signed in."""
    following = _local(request.query_params.get("next", ""))
    who = logins.principal(request)
    if who and who.session_id:
        return see(following)
    return _form(request, following=following)


async def sign_in(request: Request) -> Response:
    """The form's answer: on to the page they wanted, or the form again with the reason."""
    form = await logins.form(request)
    return await run_in_threadpool(_sign_in, request, form)


def sign_out(request: Request, who: Principal, form: FormData) -> Response:
    """Ends the session here and on the server."""
    logins.sign_out(request)
    response = see(SIGN_IN)
    logins.clear_cookie(request, response)
    return response


def _sign_in(request: Request, form: FormData) -> Response:
    following = _local(text(form, "next"))
    try:
        signed_in = logins.sign_in(request, text(form, "email"), text(form, "password"))
    except Problem as refusal:
        return _form(request, following=following, email=text(form, "email"), refusal=refusal)
    response = see(following)
    logins.set_cookie(request, response, signed_in)
    return response


def _form(request: Request, *, following: str, email: str = "", refusal: Problem | None = None) -> Response:
    with db.reading(request.app.state.services) as s:
        no_users = not users.any_exist(s)
    context = {
        "next": following,
        "email": email,
        "problem": refusal.detail or refusal.title if refusal else "",
        "no_users": no_users,
    }
    headers = {key: value for key, value in refusal.headers.items() if key == "Retry-After"} if refusal else {}
    status = refusal.status if refusal else 200
    return TEMPLATES.TemplateResponse(request, "logins/sign_in.html", context, status_code=status, headers=headers)


def _local(path: str) -> str:
    """Where to go afterwards: a path on this server and nothing a browser could read as another host."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain else HOME
