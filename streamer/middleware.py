"""What surrounds every request except media: an id and a log line, known hosts, security headers, a limit on bodies.

All of it is plain ASGI: nothing is read into memory and streams stay streams. Media (`/p/…`) passes by it in
`streamer.app`, because the origin answers for its own headers and each layer would cost a tenth of its rate.
"""

import asyncio
import secrets
import time
from collections.abc import Collection, MutableMapping
from ipaddress import ip_address
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamer import problems
from streamer.errors import Invalid, TooLarge, TooSlow

_ALWAYS_REACHABLE = ("/healthz", "/livez")
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"

log = structlog.get_logger("streamer.access")


class RequestLog:
    """Gives a request its id (`X-Request-ID`, in every log line and problem) and writes one line when it is over.

    The query is left out: it may hold names and addresses.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        seen = {"status": 499, "bytes": 0}

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            seen["bytes"] += len(message.get("body", b""))
            await send(message)

        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, watched)
            finally:
                _write_line(scope, seen, started)


def _write_line(scope: Scope, seen: MutableMapping[str, Any], started: float) -> None:
    write = log.debug if scope["path"] in _ALWAYS_REACHABLE else log.info
    write(
        "request",
        method=scope["method"],
        path=scope["path"],
        **seen,
        ms=round((time.perf_counter() - started) * 1000, 1),
        client=scope["client"][0] if scope.get("client") else None,
    )


class KnownHosts:
    """Answers only under configured names, so that a name somebody else points here gets nothing (DNS rebinding) and
    no link is ever built from a made-up Host. Without configured names: localhost and plain IP addresses. `public`, the
    host of server.public_url, is known in both cases."""

    def __init__(self, app: ASGIApp, allowed: Collection[str], public: str = "") -> None:
        self.app = app
        self.public = public.lower()
        self.names = {name.lower() for name in allowed if not name.startswith("*.")}
        self.suffixes = tuple(name[1:].lower() for name in allowed if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in _ALWAYS_REACHABLE or self._knows(scope):
            return await self.app(scope, receive, send)
        problem = Invalid("This server does not answer under this name; see server.allowed_hosts.", code="unknown_host")
        await problems.as_json(Request(scope), problem)(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = Headers(scope=scope).getlist("host")
        if len(given) != 1:
            return False
        name = _without_port(given[0].lower())
        if self.public and name == self.public:
            return True
        if self.names or self.suffixes:
            return name in self.names or name.endswith(self.suffixes or ("\0",))
        return name == "localhost" or name.endswith(".localhost") or _is_address(name)


class SecurityHeaders:
    """Headers of every response, unless the endpoint chose its own. `page_policy` is the CSP of HTML."""

    def __init__(self, app: ASGIApp, page_policy: str, https: bool) -> None:
        self.app = app
        self.page_policy = page_policy
        self.https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        https = self.https or scope["scheme"] == "https"

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(MutableHeaders(scope=message), https)
            await send(message)

        await self.app(scope, receive, guarded)

    def _add(self, headers: MutableHeaders, https: bool) -> None:
        is_page = headers.get("content-type", "").startswith("text/html")
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Content-Security-Policy", self.page_policy if is_page else _NO_PAGE)
        if https:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")


_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: that makes browsers send `Origin: null` with our own forms. Nothing leaves to other sites either way.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cache-Control": "no-store",
}


class BodyLimit:
    """Starlette's limit on request bodies, which answers in plain text, with a problem document in its place.

    A route with its own `max_body_size` widens or narrows the limit for itself.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.limited = RequestBodyLimitMiddleware(app, max_body_size=max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.limited(scope, receive, send)
        replaced = False

        async def translated(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and _is_plain_413(message):
                replaced = True
                response = problems.as_json(Request(scope), TooLarge("The body is over the limit for this address."))
                response.headers["Connection"] = "close"  # the rest of the body was not read
                await response(scope, receive, send)
            elif not replaced:
                await send(message)

        await self.limited(scope, receive, translated)


class BodyFirst:
    """Takes a small body in on the event loop before an endpoint gets a thread for it.

    Threads are few: without this, as many clients that send their bodies slowly would hold all of them.
    """

    def __init__(self, app: ASGIApp, timeout_s: float) -> None:
        self.app = app
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return await self.app(scope, receive, send)
        try:
            async with asyncio.timeout(self.timeout_s):
                waiting: list[Message] = [await _whole(receive)]
        except TimeoutError:
            raise TooSlow from None

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self.app(scope, replay, send)


async def _whole(receive: Receive) -> Message:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return {"type": "http.request", "body": bytes(body), "more_body": False}


class LastResort:
    """Answers for what no handler expected, inside the layers above, so that even a 500 has its id and its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            if started:
                raise  # the server below closes the connection: half an answer must not look whole
            await problems.answer(Request(scope), error)(scope, receive, send)


def _is_plain_413(message: Message) -> bool:
    return message["status"] == 413 and Headers(raw=message["headers"]).get("content-type", "").startswith("text/plain")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
