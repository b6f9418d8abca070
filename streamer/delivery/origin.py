"""The origin: `/p/<token>/<asset>/<version>/…` as a raw ASGI application, for players and for the edges in front of them.

No SQL, no framework and, except for the entry playlist, no Redis: a request is one regular expression over the path that is served, a
remembered signature, and bytes that are already in memory or in the page cache. Every refusal is problem+json that nobody may store; it
says no more of a token than its genuine owner may know. The order is: method, path, signature, rung, time, kill, object.

HTTP is RFC 9110: GET, HEAD and OPTIONS, strong ETags, conditions, one range of media. Playlists are compressed when the client asks for
it and are always sent whole.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, aclosing

import structlog
from starlette.types import Receive, Scope, Send

from storage import KeyRefused, ObjectMissing, StorageError
from streamer.delivery import answers, manifests, ranges
from streamer.delivery.asks import Ask, Asks
from streamer.delivery.conditions import Headers, failing, range_holds
from streamer.delivery.kills import Kills
from streamer.delivery.manifests import HeaderList, Text, Texts
from streamer.delivery.objects import Object, Objects
from streamer.delivery.presence import Presence
from streamer.delivery.refusals import MethodNotAllowed, RangeNotSatisfiable, SessionEnded, token_refusal
from streamer.delivery.tokens import Limits, Reason, TokenRefused
from streamer.errors import NotFound, Problem, Unavailable
from streamer.services import Services

_MEDIA = (".m4s", ".mp4", ".m4a", ".ts", ".aac", ".jpg", ".png", ".webp")
_SESSION = "pbs_"
_WATCHED_SIZE = 4 << 20  # bytes; from here a viewer who leaves is noticed before the end

log = structlog.get_logger(__name__)


class Origin:
    """One per web process, for one event loop. `running()` surrounds its life."""

    def __init__(self, services: Services) -> None:
        config = services.config.delivery
        self._pages = frozenset(page.encode() for page in config.cors_origins)
        self._asks = Asks(services.secrets.playback, Limits(config.token_skew_s, config.token_max_s))
        self._kills = Kills(services, config.token_max_s + config.token_skew_s)
        self._presence = Presence(services.kv, config.session_idle_s)
        self._texts = Texts(services.store, config.playlist_cache_bytes)
        self._objects = Objects(services.store, config.segment_cache_bytes)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Keeps the list of killed sessions fresh; enter it in the application's lifespan."""
        return self._kills.watching()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. A store that fails half way leaves a short body, which ends the connection."""
        headers: Headers = dict(scope["headers"])
        shared = answers.shared_headers(headers.get(b"origin"), self._pages)
        try:
            await self._answer(scope, headers, shared, receive, send)
        except Problem as problem:
            await answers.refuse(problem, scope["method"], shared, send)
        except (
            Exception
        ) as error:  # nobody expected it; after half an answer the server below refuses this one and hangs up
            log.error("origin failed", error=type(error).__name__, exc_info=True)
            await answers.refuse(Problem(), scope["method"], shared, send)

    async def _answer(self, scope: Scope, headers: Headers, shared: HeaderList, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        if method == "OPTIONS":
            return await answers.preflight(shared, send)
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed(answers.ALLOW)
        ask = self._admit(scope)
        if ask.is_entry and ask.grant.sid.startswith(_SESSION) and not await self._presence.touch(ask.grant):
            raise SessionEnded
        if ask.is_text:
            text = self._texts.get(ask, time.monotonic()) or await self._read_text(ask)
            if text:
                return await answers.text(text, method, headers, shared, send)
        elif not ask.rest.endswith(_MEDIA):
            raise NotFound("Nothing is served under this name.")
        await self._media(ask, method, headers, shared, receive, send)

    def _admit(self, scope: Scope) -> Ask:
        try:
            ask = self._asks.read(scope, time.time())
        except TokenRefused as refused:
            raise token_refusal(refused.reason) from refused
        if ask.grant.sid in self._kills:
            raise SessionEnded
        return ask

    async def _read_text(self, ask: Ask) -> Text | None:
        """None when it is too long to be held."""
        try:
            return await self._texts.read(ask, time.monotonic())
        except StorageError as error:
            raise _storage_problem(error) from error
        except manifests.NothingWithin:
            raise token_refusal(Reason.RUNG) from None
        except manifests.TooLong:
            return None

    async def _media(
        self, ask: Ask, method: str, headers: Headers, shared: HeaderList, receive: Receive, send: Send
    ) -> None:
        known = await self._object(ask.key)
        facts = [*shared, *answers.media_headers(ask.rest, known)]
        if (status := failing(headers, known.etag, known.info.modified)) is not None:
            return await answers.condition(status, facts, send)
        span = _span(headers, known) if method == "GET" else None
        await send(answers.media_start(facts, known.info.size, span))
        if method == "HEAD" or not known.info.size:
            return await send({"type": "http.response.body"})
        await self._send_bytes(known, span, receive, send)

    async def _object(self, key: str) -> Object:
        now = time.monotonic()
        try:
            return self._objects.get(key, now) or await self._objects.find(key, now)
        except StorageError as error:
            raise _storage_problem(error) from error

    async def _send_bytes(self, known: Object, span: tuple[int, int] | None, receive: Receive, send: Send) -> None:
        start, length = span or (0, known.info.size)
        gone = asyncio.ensure_future(_departure(receive)) if length >= _WATCHED_SIZE else None
        try:
            if span is None and (body := await self._objects.whole(known)) is not None:
                return await send({"type": "http.response.body", "body": body})
            async with aclosing(self._objects.pieces(known, start, length)) as pieces:
                async for piece in pieces:
                    length -= len(piece)
                    await send({"type": "http.response.body", "body": piece, "more_body": length > 0})
                    if gone and gone.done():
                        return
        except StorageError as error:
            log.warning("media cut short", key=known.info.key, error=str(error))
        finally:
            if gone:
                gone.cancel()


def _span(headers: Headers, known: Object) -> tuple[int, int] | None:
    """The one range to send, or None for all."""
    wanted = headers.get(b"range")
    if wanted is None or not range_holds(headers, known.etag, known.info.modified):
        return None
    try:
        return ranges.select(wanted, known.info.size)
    except ranges.Unsatisfiable:
        raise RangeNotSatisfiable(known.info.size) from None


def _storage_problem(error: StorageError) -> Problem:
    if isinstance(error, (ObjectMissing, KeyRefused)):
        return NotFound("There is no such object in this version.")
    log.warning("storage does not answer", error=str(error))
    return Unavailable("The storage does not answer; try again.", code="storage_unavailable", retry_after_s=2)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
