"""The origin: `/p/<token>/<asset>/<version>/…` as a raw ASGI application, for players and for the edges in front of them.

No SQL, no framework and, except for the entry playlist, no Redis: a request is one regular expression over the path that is served, a
remembered signature, and bytes that are already in memory or in the page cache. Every refusal is problem+json that nobody may store; it
says no more of a token than its genuine owner may know. The order is: path, signature, time, rung, kill, method of the object.

HTTP is RFC 9110: GET, HEAD and OPTIONS, strong ETags, conditions, one range of media. Playlists are compressed when the client asks for
it and are always sent whole.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager, aclosing

import structlog
from starlette.types import Receive, Scope, Send

from storage import KeyRefused, ObjectMissing, StorageError
from streamer.delivery import answers, manifests, ranges, tokens
from streamer.delivery.conditions import Headers, failing, range_holds
from streamer.delivery.kills import Kills
from streamer.delivery.manifests import HeaderList, Text, Texts
from streamer.delivery.objects import Object, Objects
from streamer.delivery.presence import Presence
from streamer.delivery.refusals import MethodNotAllowed, RangeNotSatisfiable, SessionEnded, token_refusal
from streamer.delivery.tokens import Grant, Limits, Reason, TokenRefused
from streamer.errors import NotFound, Problem, Unavailable
from streamer.services import Services

_TEXTS = (".m3u8", ".vtt")
_MEDIA = (".m4s", ".mp4", ".m4a", ".ts", ".aac", ".jpg", ".png", ".webp")
_SESSION = "pbs_"
_REMEMBERED_TICKETS = 16_384
_WATCHED_SIZE = 4 << 20  # bytes; from here a viewer who leaves is noticed before the end

log = structlog.get_logger(__name__)


class Origin:
    """One per web process, for one event loop. `running()` surrounds its life."""

    def __init__(self, services: Services) -> None:
        config = services.config.delivery
        self._keys = services.secrets.playback
        self._limits = Limits(config.token_skew_s, config.token_max_s)
        self._pages = frozenset(page.encode() for page in config.cors_origins)
        self._store = services.store
        self._grants: OrderedDict[str, Grant] = OrderedDict()
        self._texts = Texts(config.playlist_cache_bytes)
        self._objects = Objects(services.store, config.segment_cache_bytes)
        self._presence = Presence(services.kv, config.session_idle_s)
        self._kills = Kills(services, config.token_max_s + config.token_skew_s)

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

    async def _answer(self, scope: Scope, headers: Headers, shared: HeaderList, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        if method == "OPTIONS":
            return await answers.preflight(shared, send)
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed(answers.ALLOW)
        grant, rest = self._admit(scope)
        if rest.endswith(_TEXTS):
            text = await self._text(grant, rest)
            if text:
                return await answers.text(text, method, headers, shared, send)
        elif not rest.endswith(_MEDIA):
            raise NotFound("Nothing is served under this name.")
        known = await self._object(grant.prefix + rest)
        facts = [*shared, *answers.media_headers(rest, known)]
        if (status := failing(headers, known.etag, known.info.modified)) is not None:
            return await answers.condition(status, facts, send)
        span = _span(headers, known) if method == "GET" else None
        await send(answers.media_start(facts, known.info.size, span))
        if method == "HEAD" or not known.info.size:
            return await send({"type": "http.response.body"})
        await self._send_bytes(known, span, receive, send)

    def _admit(self, scope: Scope) -> tuple[Grant, str]:
        """What the token opens. An escape in the raw path is refused whatever it stands for: caches would file it elsewhere."""
        try:
            if b"%" in scope.get("raw_path", b""):
                raise TokenRefused(Reason.MALFORMED)
            ticket, rest = tokens.split(scope["path"])
            grant = self._grants.get(ticket) or self._remember(ticket)
            tokens.check(grant, rest, time.time(), self._limits)
        except TokenRefused as refused:
            raise token_refusal(refused.reason) from refused
        if grant.sid in self._kills:
            raise SessionEnded
        return grant, rest

    def _remember(self, ticket: str) -> Grant:
        grant = self._grants[ticket] = tokens.admit(self._keys, ticket)
        if len(self._grants) > _REMEMBERED_TICKETS:
            self._grants.popitem(last=False)
        return grant

    async def _text(self, grant: Grant, rest: str) -> Text | None:
        """A playlist, or None when it is too long to be held. An entry is where a killed session ends at once."""
        cap = tokens.LARGEST_CAP
        if manifests.is_entry(rest):
            cap = grant.cap
            if grant.sid.startswith(_SESSION) and not await self._presence.touch(grant):
                raise SessionEnded
        key, now = grant.prefix + rest, time.monotonic()
        return self._texts.get(key, cap, now) or await self._read_text(key, rest, cap, now)

    async def _read_text(self, key: str, rest: str, cap: int, now: float) -> Text | None:
        try:
            text = await asyncio.to_thread(manifests.make, self._store, key, rest, cap, now)
        except StorageError as error:
            raise _storage_problem(error) from error
        except manifests.NothingWithin:
            raise token_refusal(Reason.RUNG) from None
        except manifests.TooLong:
            return None
        self._texts.keep(key, cap, text)
        return text

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
