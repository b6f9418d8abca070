"""How many requests of a kind a client may make: by account when it shows a session or a key that is known, else by its network.

    @limits.counted(Kind.SIGN_IN)            # on an endpoint, or on the view of a page
    def create_session(request): …

What is not marked is `reading` (or `pages`) or `changing`, by its method. Every answer tells its budget in the fields of
draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy: "reading";q=6000;w=60` and `RateLimit: "reading";r=5999;t=1`. A request over it is 429 with
`Retry-After`, before it gets a thread. Media is never counted here: it does not pass by.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamer.accounts import apikeys, cookies, known_devices, login_sessions, logins
from streamer.accounts.budgets import Budgets, Count
from streamer.accounts.networks import network
from streamer.errors import RateLimited
from streamer.sections import Limits

SAFE = ("GET", "HEAD", "OPTIONS")

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Kind(StrEnum):
    """The kinds, each with a setting of its name in `[limits]`."""

    SIGN_IN = "sign-in"
    LETTERS = "letters"
    READING = "reading"
    CHANGING = "changing"
    UPLOADS = "uploads"
    PLAYBACK = "playback"
    HEARTBEATS = "heartbeats"
    PAGES = "pages"


def counted(kind: Kind) -> Callable[[Endpoint], Endpoint]:
    """Mark an endpoint, all methods of it, as of a kind."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.limit = kind  # type: ignore[attr-defined]  # read by `kind_of` alone
        return endpoint

    return mark


def kind_of(endpoint: Callable[..., Any]) -> Kind | None:
    """How an endpoint is marked."""
    return getattr(endpoint, "limit", None)


def same(view: Callable[..., Any], endpoint: Endpoint) -> Endpoint:
    """Mark an endpoint as the view that it wraps."""
    kind = kind_of(view)
    return counted(kind)(endpoint) if kind else endpoint


class Limited:
    """An endpoint whose requests are counted. `reading` is the kind of what only reads, if it is not marked."""

    def __init__(self, app: ASGIApp, budgets: Budgets, settings: Limits, kind: Kind | None, reading: Kind) -> None:
        self.app = app
        self.budgets = budgets
        self.settings = settings
        self.kind = kind
        self.reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = self.kind or (self.reading if scope["method"] in SAFE else Kind.CHANGING)
        count = await self._take(kind, Request(scope))
        if count is None:
            return await self.app(scope, receive, send)
        if not count.allowed:
            raise _refusal(kind, count)
        fields = _fields(kind, count)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(fields)
            await send(message)

        await self.app(scope, receive, told)

    async def _take(self, kind: Kind, request: Request) -> Count | None:
        quota: int = getattr(self.settings, kind.replace("-", "_"))
        if not quota:
            return None
        client = _known(request) if kind is Kind.SIGN_IN else None
        client = client or network(logins.client_address(request))
        return await self.budgets.take(kind, _entry(request), client, quota, self.settings.window_s)


def _known(request: Request) -> str | None:
    """Who has signed in here before: a flood from the same network must not keep them out."""
    return known_devices.any_account(request.app.state.services.secrets, cookies.read(request, cookies.DEVICE))


def _entry(request: Request) -> str | None:
    """Where Redis would have the credential that the request shows."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return apikeys.entry(secret.strip())
    cookie = cookies.read(request, cookies.SESSION)
    return login_sessions.entry(cookie) if cookie else None


def _fields(kind: Kind, count: Count) -> dict[str, str]:
    return {
        "RateLimit-Policy": f'"{kind}";q={count.quota};w={count.window_s}',
        "RateLimit": f'"{kind}";r={count.left};t={count.seconds}',
    }


def _refusal(kind: Kind, count: Count) -> RateLimited:
    wait_s = max(1, count.seconds)
    detail = (
        f"More than {count.quota} requests of the kind {kind} came from you in {count.window_s} s. Wait {wait_s} s."
    )
    refusal = RateLimited(detail, retry_after_s=wait_s)
    refusal.headers.update(_fields(kind, count))
    return refusal
