"""Our cookies, the session's, the known device's, and one for the way to an identity provider and back: never readable by scripts, never sent along by other sites' forms.

Over https their names begin with `__Host-`, which binds them to this very host and to https; browsers refuse that prefix over http.
"""

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from streamer.services import Services

SESSION, DEVICE, PROVIDER = "session", "device", "provider"


def name(request: HTTPConnection, what: str) -> str:
    """What the cookie is called here."""
    return f"__Host-{what}" if _is_https(request) else what


def read(request: HTTPConnection, what: str) -> str:
    """What the browser sent; empty when it has none."""
    return request.cookies.get(name(request, what), "")


def give(request: Request, response: Response, what: str, value: str, max_age_s: int) -> None:
    """Give it to the browser."""
    response.set_cookie(
        name(request, what),
        value,
        max_age=max_age_s,
        path="/",
        secure=_is_https(request),
        httponly=True,
        samesite="lax",
    )


def take(request: Request, response: Response, what: str) -> None:
    """Take it away."""
    secure = _is_https(request)
    response.delete_cookie(name(request, what), path="/", secure=secure, httponly=True, samesite="lax")


def _is_https(request: HTTPConnection) -> bool:
    services: Services = request.app.state.services
    return request.url.scheme == "https" or services.config.server.public_url.startswith("https://")
