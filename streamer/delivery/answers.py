"""The origin's answers as ASGI messages: headers that every answer has, and the forms of text, media, conditions and refusals."""

from __future__ import annotations

import json
import re

from starlette.types import Message, Send

from storage.mimes import media_type
from streamer.delivery.conditions import Headers, failing
from streamer.delivery.manifests import HeaderList, Text
from streamer.delivery.objects import Object
from streamer.delivery.refusals import PreconditionFailed
from streamer.errors import Problem

ALLOW = "GET, HEAD, OPTIONS"
_FOR_EVER = b"public, max-age=31536000, immutable"
_SAFE: HeaderList = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_PREFLIGHT: HeaderList = [
    (b"access-control-allow-methods", ALLOW.encode()),
    (b"access-control-allow-headers", b"Range, If-Range, If-None-Match, If-Modified-Since, Cache-Control"),
    (b"access-control-max-age", b"86400"),
    (b"allow", ALLOW.encode()),
]
_EXPOSED = (b"access-control-expose-headers", b"Accept-Ranges, Content-Length, Content-Range, ETag")
_NOT_MODIFIED = {b"etag", b"cache-control", b"vary", b"last-modified", *(name for name, _ in _SAFE)}
_GZIP_QUALITY = re.compile(
    rb"(?:^|,)\s*(gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*(?=,|$)", re.IGNORECASE
)


def shared_headers(origin: bytes | None, allowed: frozenset[bytes]) -> HeaderList:
    """What every answer has. Unless all pages may read media, the answer depends on the Origin header and says so."""
    if b"*" in allowed:
        return _OPEN
    granted = [(b"access-control-allow-origin", origin)] if origin in allowed and origin else []
    return [*_SAFE, (b"vary", b"origin"), *granted]


async def preflight(shared: HeaderList, send: Send) -> None:
    """OPTIONS needs no token: it says only what every path allows."""
    await _send(send, 204, [*shared, *_PREFLIGHT])


async def text(found: Text, method: str, headers: Headers, shared: HeaderList, send: Send) -> None:
    """A playlist in the form the client takes. Ranges are ignored, since half a playlist is of no use."""
    form = found.gzipped if _takes_gzip(headers.get(b"accept-encoding")) else found.plain
    if (status := failing(headers, form.etag, found.modified)) is not None:
        return await condition(status, [*shared, *form.headers], send)
    await _send(send, 200, [*shared, *form.headers], b"" if method == "HEAD" else form.body)


async def condition(status: int, facts: HeaderList, send: Send) -> None:
    """304 with the headers a cache needs to keep what it has, or 412."""
    if status == 412:
        raise PreconditionFailed
    kept = [(name, value) for name, value in facts if name in _NOT_MODIFIED or name.startswith(b"access-control-")]
    await _send(send, 304, kept)


def media_headers(rest: str, known: Object) -> HeaderList:
    """Facts of a media object; paths under a version are written once, so caches may keep them for ever."""
    return [
        (b"content-type", media_type(rest).encode()),
        (b"cache-control", _FOR_EVER),
        (b"accept-ranges", b"bytes"),
        (b"etag", known.etag),
        (b"last-modified", known.modified),
        _EXPOSED,
    ]


def media_start(facts: HeaderList, size: int, span: tuple[int, int] | None) -> Message:
    """The start of 200, or of 206 with `span` as offset and length."""
    if span is None:
        return {"type": "http.response.start", "status": 200, "headers": [*facts, _length(size)]}
    start, length = span
    part = (b"content-range", b"bytes %d-%d/%d" % (start, start + length - 1, size))
    return {"type": "http.response.start", "status": 206, "headers": [*facts, part, _length(length)]}


async def refuse(problem: Problem, method: str, shared: HeaderList, send: Send) -> None:
    """problem+json that no cache keeps."""
    body = json.dumps(problem.body()).encode()
    headers = [
        *shared,
        (b"content-type", b"application/problem+json"),
        (b"cache-control", b"no-store"),
        _length(len(body)),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    await _send(send, problem.status, headers, b"" if method == "HEAD" else body)


async def _send(send: Send, status: int, headers: HeaderList, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _takes_gzip(header: bytes | None) -> bool:
    """Whether Accept-Encoding lists gzip, or `*`, with a quality above 0. The usual spellings are answered at once."""
    if header is None or b"gzip" not in header and b"*" not in header:
        return False
    if b"q=" not in header:
        return True
    qualities = {match[1].lower(): float(match[2] or 1) for match in _GZIP_QUALITY.finditer(header)}
    return qualities.get(b"gzip", qualities.get(b"x-gzip", qualities.get(b"*", 0.0))) > 0


def _length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


_OPEN: HeaderList = [(b"access-control-allow-origin", b"*"), *_SAFE]
