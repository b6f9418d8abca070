"""Who may open a page: somebody signed in by cookie. Everybody else is sent to the sign-in page and brought back afterwards.

Route("/admin", page(view))                      # def view(request, who) -> Response, in a thread
Route("/admin/keys", action(view), methods=…)    # def view(request, who, form) -> Response, CSRF proved, in a thread
Route("/admin/reset", visitor(view), methods=…)  # def view(request, form) -> Response, for anybody, from our own pages
"""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from streamer.accounts import limits, logins
from streamer.accounts.logins import Principal

SIGN_IN = "/admin/sign-in"
SECOND_FACTOR = "/admin/account/second-factor"
Page = Callable[[Request, Principal], Response]
Action = Callable[[Request, Principal, FormData], Response]
Form = Callable[[Request, FormData], Response]


def page(view: Page, *, enrolling: bool = False) -> Callable[[Request], Response]:
    """An endpoint for GET. `enrolling`: also for who has to set up a second factor first; everything else sends them there."""

    def endpoint(request: Request) -> Response:
        who = logins.principal(request)
        if who is None and request.state.enrolling is not None:
            return view(request, request.state.enrolling) if enrolling else see(SECOND_FACTOR)
        return view(request, who) if who and who.session_id else _to_sign_in(request)

    return limits.same(view, endpoint)


def action(view: Action, *, enrolling: bool = False) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for a form, `enrolling` as above. A session that ended meanwhile leads to the sign-in page, a wrong CSRF token is refused."""

    def run(request: Request, form: FormData) -> Response:
        return view(request, logins.in_person(request, enrolling=enrolling), form)

    async def endpoint(request: Request) -> Response:
        form = await logins.form(request)
        return await run_in_threadpool(run, request, form)

    return limits.same(view, endpoint)


def visitor(view: Form) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for a form of somebody who need not be signed in. It must come from a page of ours."""

    def run(request: Request, form: FormData) -> Response:
        logins.refuse_foreign(request)
        return view(request, form)

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(run, request, await logins.form(request))

    return limits.same(view, endpoint)


def text(form: FormData, name: str) -> str:
    """A field as text; empty when it is missing or a file."""
    value = form.get(name)
    return value if isinstance(value, str) else ""


def see(path: str) -> RedirectResponse:
    """After a form: to a page that may be reloaded without doing it again."""
    return RedirectResponse(path, 303)


def _to_sign_in(request: Request) -> Response:
    return see(f"{SIGN_IN}?next={quote(request.url.path, safe='/')}")
