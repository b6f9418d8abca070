"""Playlists as players get them: cut to the token's cap, in memory, compressed once.

A multivariant playlist is the entry to a film: it names only the rungs its token opens, so a player never asks for one that would be refused.
Media playlists pass unchanged. Bodies are kept in a bounded cache with their gzip form and their headers, because compressing costs a
thousand times what sending does; they are read again every few seconds, which is how a deleted film stops.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from storage import ObjectStore
from storage.mimes import media_type
from streamer.delivery.threads import reading
from streamer.delivery.tokens import within_cap

LONGEST_TEXT = 4 << 20
_FRESH_S, _FRESH_OPEN_S = 5.0, 0.5
_START_BANDWIDTH = 2_000_000  # Apple A1.32: begin near this average, bit/s
_GROUP = re.compile(r'(?:AUDIO|VIDEO|SUBTITLES|CLOSED-CAPTIONS)="([^"]*)"')

HeaderList = list[tuple[bytes, bytes]]


class NothingWithin(Exception):
    """No variant of the film is small enough for the cap."""


class TooLong(Exception):
    """The text is too long to be held; it can still be sent in pieces."""


@dataclass(frozen=True, slots=True)
class Form:
    """One representation, ready to send: the headers hold all but what every answer has."""

    body: bytes
    etag: bytes
    headers: HeaderList


@dataclass(frozen=True, slots=True)
class Text:
    """A playlist or caption file in both its forms; `fresh_until` counts the clock it was made with."""

    plain: Form
    gzipped: Form
    modified: datetime
    fresh_until: float

    @property
    def weight(self) -> int:
        return len(self.plain.body) + len(self.gzipped.body) + 2048


class Wanted(Protocol):
    """A text by its storage key, its name under the version, and the cap that an entry is cut to."""

    @property
    def key(self) -> str: ...
    @property
    def rest(self) -> str: ...
    @property
    def cap(self) -> int: ...


class Texts:
    """The bounded cache, for one event loop: least recently used first out, `limit` in bytes."""

    def __init__(self, store: ObjectStore, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._weight = 0
        self._texts: OrderedDict[tuple[str, int], Text] = OrderedDict()
        self._reading: dict[tuple[str, int], asyncio.Future[Text]] = {}

    def get(self, wanted: Wanted, now: float) -> Text | None:
        """The text if it is held and fresh."""
        name = (wanted.key, wanted.cap)
        text = self._texts.get(name)
        if text is None or text.fresh_until < now:
            return None
        self._texts.move_to_end(name)
        return text

    async def read(self, wanted: Wanted, now: float) -> Text:
        """Read it from the store, once for all who wait. Raises StorageError, NothingWithin and TooLong."""
        name = (wanted.key, wanted.cap)
        under_way = self._reading.get(name)
        if under_way is None:
            work = reading(make, self._store, wanted.key, wanted.rest, wanted.cap, now)
            under_way = self._reading[name] = asyncio.ensure_future(work)
            under_way.add_done_callback(lambda _: self._reading.pop(name))
        text = await asyncio.shield(under_way)
        self._keep(name, text)
        return text

    def _keep(self, name: tuple[str, int], text: Text) -> None:
        self._drop(name)
        self._texts[name] = text
        self._weight += text.weight
        while self._weight > self._limit:
            self._drop(next(iter(self._texts)))

    def _drop(self, name: tuple[str, int]) -> None:
        if old := self._texts.pop(name, None):
            self._weight -= old.weight


def is_entry(rest: str) -> bool:
    """Multivariant playlists lie at the top of a version, media playlists in their rendition's folder."""
    return "/" not in rest and rest.endswith(".m3u8")


def make(store: ObjectStore, key: str, rest: str, cap: int, now: float) -> Text:
    """Read, cut and compress; blocks, so it runs in a thread. Raises StorageError, NothingWithin and TooLong."""
    info = store.head(key)
    if info.size > LONGEST_TEXT:
        raise TooLong
    body = store.read(key)
    if is_entry(rest):
        body = within(body.decode(), cap).encode()
    is_open = rest.endswith(".m3u8") and b"#EXT-X-ENDLIST" not in body and not is_entry(rest)
    shared = [
        (b"content-type", media_type(rest).encode()),
        (b"cache-control", _caching(rest, is_open)),
        (b"vary", b"accept-encoding"),
    ]
    tag = hashlib.sha256(body).hexdigest()[:24]
    return Text(
        _form(body, f'"{tag}"', shared),
        _form(gzip.compress(body, 6, mtime=0), f'"{tag}-gzip"', [*shared, (b"content-encoding", b"gzip")]),
        info.modified,
        now + (_FRESH_OPEN_S if is_open else _FRESH_S),
    )


def within(text: str, cap: int) -> str:
    """The multivariant playlist without what lies above the cap, and without the groups nobody refers to then.

    When the variant to begin with is gone, the one nearest to it in bandwidth moves to the front.
    """
    blocks = _blocks(text)
    variants = [block for block in blocks if block[0].startswith("#EXT-X-STREAM-INF:")]
    if not variants:
        return text
    kept = [block for block in variants if within_cap(block[-1], cap)]
    if not kept:
        raise NothingWithin
    if variants[0] is not kept[0]:
        start = _start(kept)
        kept = [start, *(block for block in kept if block is not start)]
    groups = {group for block in kept for group in _GROUP.findall(block[0])}
    lines: list[str] = []
    for block in blocks:
        if block is variants[0]:
            lines += [line for variant in kept for line in variant]
        elif block not in variants and _belongs(block[0], cap, groups):
            lines += block
    return "\n".join(lines) + "\n"


def _blocks(text: str) -> list[list[str]]:
    """One list per line, except that a STREAM-INF tag and all lines to its URI are one."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        last = blocks[-1] if blocks else []
        if last and last[0].startswith("#EXT-X-STREAM-INF:") and (len(last) == 1 or last[-1].startswith("#")):
            last.append(line)
        else:
            blocks.append([line])
    return blocks


def _start(variants: list[list[str]]) -> list[str]:
    return min(variants, key=lambda block: abs(_bandwidth(block[0]) - _START_BANDWIDTH))


def _bandwidth(tag: str) -> int:
    found = re.search(r"AVERAGE-BANDWIDTH=(\d+)", tag) or re.search(r"BANDWIDTH=(\d+)", tag)
    return int(found[1]) if found else 0


def _belongs(line: str, cap: int, groups: set[str]) -> bool:
    if line.startswith("#EXT-X-I-FRAME-STREAM-INF:"):
        return within_cap(_attribute(line, "URI"), cap)
    if line.startswith("#EXT-X-MEDIA:"):
        return _attribute(line, "GROUP-ID") in groups and within_cap(_attribute(line, "URI"), cap)
    return True


def _attribute(line: str, name: str) -> str:
    found = re.search(rf'[:,]{name}="([^"]*)"', line)
    return found[1] if found else ""


def _caching(rest: str, is_open: bool) -> bytes:
    """An entry's body depends on the cap, which shared caches leave out of their keys; the other paths are written once."""
    if is_entry(rest):
        return b"private, no-cache"
    if is_open:
        return b"public, max-age=1"
    return b"public, max-age=300" if rest.endswith(".m3u8") else b"public, max-age=31536000, immutable"


def _form(body: bytes, etag: str, headers: HeaderList) -> Form:
    return Form(body, etag.encode(), [*headers, (b"content-length", b"%d" % len(body)), (b"etag", etag.encode())])
