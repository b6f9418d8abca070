"""Signing in by a provider: off to it, and what its answer opens."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin.views import logins as doors
from admin.views.guard import see
from streamer import http
from streamer.accounts import cookies, limits, logins
from streamer.accounts.limits import Kind
from streamer.errors import Problem
from streamer.membership.oidc import accounts, flow
from streamer.sections import Provider


@limits.counted(Kind.SIGN_IN)
def start(request: Request) -> Response:
    """To the provider, with a cookie that the way back needs."""
    services = http.services(request)
    provider = flow.named(services, request.path_params["provider"])
    following = doors.local(request.query_params.get("next", ""))
    try:
        url, cookie = flow.begin(services, provider, _here(request, provider), following)
    except Problem as refusal:
        return doors.again(request, following, refusal)
    response = RedirectResponse(url, 303)
    cookies.give(request, response, cookies.PROVIDER, cookie, flow.GOOD_S)
    return response


@limits.counted(Kind.SIGN_IN)
def callback(request: Request) -> Response:
    """The provider's answer: in, or a code of the app first, or the sign-in page with the reason."""
    services = http.services(request)
    provider = flow.named(services, request.path_params["provider"])
    logins.as_visitor(request)
    cookie = cookies.read(request, cookies.PROVIDER)
    try:
        identity, following = flow.finish(services, provider, _here(request, provider), cookie, request.query_params)
        user = accounts.enter(services, provider, identity)
        signed_in = logins.enter_by_provider(request, user, second_factor=identity.second_factor)
        response: Response = see(doors.local(following))
        logins.set_cookie(request, response, signed_in)
    except logins.SecondFactorNeeded as needed:
        response = doors.ask_code(request, needed.challenge, doors.local(following))
    except Problem as refusal:
        response = doors.again(request, doors.HOME, refusal)
    cookies.take(request, response, cookies.PROVIDER)
    return response


def _here(request: Request, provider: Provider) -> str:
    """Where the provider sends people back to; it knows this very address."""
    base = http.services(request).config.server.public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"
    return f"{base}/admin/sign-in/{provider.name}/callback"
