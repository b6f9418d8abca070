"""Whether a request with our cookie was made by our own page: what the browser says of its origin, and a token that other sites can't read."""

import hmac
from base64 import urlsafe_b64encode
from urllib.parse import urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request

from streamer.errors import Forbidden
from streamer.services import Services

_HEADER = "x-csrf-token"
_FIELD = "csrf_token"
_SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}


def token(services: Services, session_id: str) -> str:
    """What pages of this session send along with each change."""
    digest = hmac.digest(services.secrets.session, f"csrf\n{session_id}".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def note(request: Request, fields: FormData) -> None:
    """The form's token counts as the header does."""
    request.state.csrf_given = fields.get(_FIELD)


def refusal(request: Request, token: str) -> Forbidden | None:
    """Why this request may have been made by another site; None when it can't have been."""
    if request.method in _SAFE:
        return None
    if not same_origin(request, strict=True):
        return foreign()
    given = request.headers.get(_HEADER) or getattr(request.state, "csrf_given", None) or ""
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), token.encode()):
        return Forbidden(
            "The page is out of date: load it again and repeat what you did. A program sends csrf_token of GET /api/v1/me as X-CSRF-Token.",
            code="csrf",
        )
    return None


def same_origin(request: Request, *, strict: bool) -> bool:
    """What the browser says of where the request comes from; `strict` refuses one that says nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return not strict
    public: str = request.app.state.services.config.server.public_url
    return origin.partition("://")[2] in {request.headers.get("host"), urlsplit(public).netloc} - {"", None}


def foreign() -> Forbidden:
    """The refusal of what another site made a browser ask."""
    return Forbidden(
        "This request does not come from a page of this site. A program sends an Origin header with this server's address, or an API key and no cookie.",
        code="foreign_origin",
    )
