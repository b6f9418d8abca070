"""One attempt at some chunks: segments go to storage under names of its own, each chunk's index as soon as it is whole and only if absent."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from packager import fmp4
from packager.index import ChunkIndex, IFrame, SegmentEntry
from packager.loudness import Loudness
from packager.sandbox import Message, nonsense
from storage.base import ObjectExists, ObjectStore, StorageError

IMMUTABLE = "public, max-age=31536000, immutable"
PARALLEL_PUTS = 4
INDEX = re.compile(r"(?P<rendition>[a-z0-9-]+)/(?P<chunk>\d{4,})\.json")
SEGMENT = re.compile(r"[a-z0-9-]+/\d{4,}-[0-9a-f]{8}/\d{6,}\.m4s")
Place = tuple[str, int]
"""A rendition's name and a chunk's number."""


def index_key(prefix: str, rendition: str, chunk: int) -> str:
    return f"{prefix}/{rendition}/{chunk:04d}.json"


def finished_chunks(store: ObjectStore, prefix: str) -> dict[Place, ChunkIndex]:
    """Every index under `prefix`."""
    keys = [info.key for info in store.list(f"{prefix}/") if INDEX.fullmatch(info.key.removeprefix(f"{prefix}/"))]
    indexes = [ChunkIndex.from_json(store.read(key)) for key in keys]
    return {(index.rendition, index.chunk): index for index in indexes}


def sweep(store: ObjectStore, prefix: str) -> None:
    """Remove segments that no index names: what attempts left that were killed or lost. Every chunk must have its index."""
    segments, indexes = set(), []
    for info in store.list(f"{prefix}/"):
        name = info.key.removeprefix(f"{prefix}/")
        if SEGMENT.fullmatch(name):
            segments.add(name)
        elif INDEX.fullmatch(name):
            indexes.append(ChunkIndex.from_json(store.read(info.key)))
    named = {f"{index.rendition}/{entry.uri}" for index in indexes for entry in index.segments}
    for name in segments - named:
        with contextlib.suppress(StorageError):
            store.delete(f"{prefix}/{name}")


class Attempt:
    """Puts run beside the encode, a few at a time: bounded memory, and object storage's latency doesn't stop the encoder.

    `wanted` are the chunks to be made, `spans` the segment numbers of every chunk of the film. Segments of a chunk that is not wanted are passed
    over: sound starts again from the beginning, but what an earlier attempt finished stays. `finished` is told of each index that stands.
    """

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        wanted: set[Place],
        spans: Mapping[str, list[range]],
        finished: Callable[[ChunkIndex], None],
    ) -> None:
        self._store, self._prefix, self._wanted, self._finished = store, prefix, set(wanted), finished
        self._spans = {rendition: spans[rendition] for rendition, _ in wanted}
        self._name = secrets.token_hex(4)
        self._inits: dict[str, tuple[str, int, str]] = {}
        self._segments: dict[Place, list[SegmentEntry]] = {}
        self._loudness: dict[Place, Loudness] = {}
        self._pool = ThreadPoolExecutor(PARALLEL_PUTS, thread_name_prefix="put")
        self._waiting: list[Future[None]] = []

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=error is not None)
        for (rendition, _), segments in self._segments.items():
            self._remove(rendition, segments)

    def take(self, message: Message) -> None:
        """Store an `init` or `segment` message of the child. The last segment of a chunk makes its index."""
        rendition = str(message.fields.get("rendition"))
        if rendition not in self._spans:
            raise nonsense(f"{message.kind} of {rendition[:40]}, which nobody asked for")
        try:
            if message.kind == "init":
                self._init(rendition, message)
            else:
                self._segment(rendition, message)
        except (KeyError, TypeError, ValueError, IndexError, struct.error) as error:
            raise nonsense(f"a broken {message.kind} of {rendition}") from error

    def check(self) -> None:
        """The child is done: nothing may be missing."""
        if self._wanted:
            raise nonsense(f"nothing of {', '.join(sorted({rendition for rendition, _ in self._wanted}))}")

    def _init(self, rendition: str, message: Message) -> None:
        uri = f"init-{hashlib.sha256(message.payload).hexdigest()[:12]}.mp4"
        self._inits[rendition] = (uri, int(message.fields["timescale"]), fmp4.codecs(message.payload))
        self._put(f"{rendition}/{uri}", message.payload, "video/mp4" if rendition.startswith("v") else "audio/mp4")

    def _segment(self, rendition: str, message: Message) -> None:
        fields, data = message.fields, message.payload
        number, start, duration = (int(fields[name]) for name in ("number", "start", "duration"))
        (chunk,) = [chunk for chunk, span in enumerate(self._spans[rendition]) if number in span]
        place = (rendition, chunk)
        if place not in self._wanted:
            return
        uri = f"{chunk:04d}-{self._name}/{number:06d}.m4s"
        frames = tuple(IFrame(int(offset), int(size), int(begin)) for offset, size, begin in fields["iframes"])
        digest = hashlib.sha256(data).hexdigest()
        entry = SegmentEntry(uri, number, start, duration, len(data), digest, frames)
        self._segments.setdefault(place, []).append(entry)
        if heard := fields.get("loudness"):
            self._loudness[place] = Loudness.from_fields(heard)
        self._put(f"{rendition}/{uri}", data, "video/iso.segment")
        if number == self._spans[rendition][chunk][-1]:
            self._commit(place)

    def _put(self, name: str, data: bytes, kind: str) -> None:
        while len(self._waiting) >= 2 * PARALLEL_PUTS:
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(self._store_object, f"{self._prefix}/{name}", data, kind))

    def _store_object(self, key: str, data: bytes, kind: str) -> None:
        self._store.put(key, data, type=kind, cache=IMMUTABLE)

    def _commit(self, place: Place) -> None:
        """All bytes of a chunk are in storage: create its index. Where one stands already, another attempt has won."""
        while self._waiting:
            self._waiting.pop(0).result()
        rendition, chunk = place
        init, timescale, codecs = self._inits[rendition]
        segments, heard = self._segments[place], self._loudness.get(place)
        if [entry.number for entry in segments] != list(self._spans[rendition][chunk]):
            raise ValueError("segments out of order")
        mine = ChunkIndex(rendition, chunk, self._name, init, timescale, codecs, tuple(segments), heard)
        # From here the index may stand even if the answer is lost: an error must leave what it names.
        del self._segments[place]
        index = self._standing(mine)
        if index.attempt != self._name:
            self._remove(rendition, segments)
        self._wanted.discard(place)
        self._finished(index)

    def _standing(self, mine: ChunkIndex) -> ChunkIndex:
        """The index that counts; ours if nobody was faster. A retried put may meet its own first try."""
        key = index_key(self._prefix, mine.rendition, mine.chunk)
        try:
            self._store.put(key, mine.to_json(), type="application/json", if_absent=True)
        except ObjectExists:
            return ChunkIndex.from_json(self._store.read(key))
        return mine

    def _remove(self, rendition: str, segments: list[SegmentEntry]) -> None:
        """A loser's segments are rubbish; if they can't be removed now, a sweep finds them by their attempt's name."""
        for entry in segments:
            with contextlib.suppress(StorageError):
                self._store.delete(f"{self._prefix}/{rendition}/{entry.uri}")
