"""One attempt at one chunk: segments go to storage under names of its own, indexes last and only if absent."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import struct
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from packager import fmp4
from packager.index import ChunkIndex, IFrame, SegmentEntry
from packager.sandbox import Message, nonsense
from storage.base import ObjectExists, ObjectStore, StorageError

IMMUTABLE = "public, max-age=31536000, immutable"
PARALLEL_PUTS = 4
INDEX = re.compile(r"(?P<rendition>[a-z0-9-]+)/(?P<chunk>\d{4,})\.json")
SEGMENT = re.compile(r"[a-z0-9-]+/\d{4,}-[0-9a-f]{8}/\d{6,}\.m4s")


def index_key(prefix: str, rendition: str, chunk: int) -> str:
    return f"{prefix}/{rendition}/{chunk:04d}.json"


def finished_chunks(store: ObjectStore, prefix: str) -> set[tuple[str, int]]:
    """(rendition, chunk) of every index under `prefix`."""
    names = (info.key.removeprefix(f"{prefix}/") for info in store.list(f"{prefix}/"))
    return {(match["rendition"], int(match["chunk"])) for name in names if (match := INDEX.fullmatch(name))}


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
    """Puts run beside the encode, a few at a time: bounded memory, and object storage's latency doesn't stop the encoder."""

    def __init__(self, store: ObjectStore, prefix: str, chunk: int, renditions: list[str]) -> None:
        self._store, self._prefix, self._chunk = store, prefix, chunk
        self._name = secrets.token_hex(4)
        self._inits: dict[str, tuple[str, int, str]] = {}
        self._segments: dict[str, list[SegmentEntry]] = {rendition: [] for rendition in renditions}
        self._pool = ThreadPoolExecutor(PARALLEL_PUTS, thread_name_prefix="put")
        self._waiting: list[Future[None]] = []

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=error is not None)
        if error is not None:
            self._remove(list(self._segments))

    def take(self, message: Message) -> None:
        """Store an `init` or `segment` message of the child."""
        rendition = str(message.fields.get("rendition"))
        if rendition not in self._segments:
            raise nonsense(f"{message.kind} of {rendition[:40]}, which nobody asked for")
        try:
            if message.kind == "init":
                self._init(rendition, message)
            else:
                self._segment(rendition, message)
        except (KeyError, TypeError, ValueError, IndexError, struct.error) as error:
            raise nonsense(f"a broken {message.kind} of {rendition}") from error

    def _init(self, rendition: str, message: Message) -> None:
        uri = f"init-{hashlib.sha256(message.payload).hexdigest()[:12]}.mp4"
        self._inits[rendition] = (uri, int(message.fields["timescale"]), fmp4.codecs(message.payload))
        self._put(f"{rendition}/{uri}", message.payload, "video/mp4" if rendition.startswith("v") else "audio/mp4")

    def _segment(self, rendition: str, message: Message) -> None:
        fields, data = message.fields, message.payload
        number, start, duration = (int(fields[name]) for name in ("number", "start", "duration"))
        uri = f"{self._chunk:04d}-{self._name}/{number:06d}.m4s"
        frames = tuple(IFrame(int(offset), int(size), int(begin)) for offset, size, begin in fields["iframes"])
        digest = hashlib.sha256(data).hexdigest()
        self._segments[rendition].append(SegmentEntry(uri, number, start, duration, len(data), digest, frames))
        self._put(f"{rendition}/{uri}", data, "video/iso.segment")

    def _put(self, name: str, data: bytes, kind: str) -> None:
        while len(self._waiting) >= 2 * PARALLEL_PUTS:
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(self._store_object, f"{self._prefix}/{name}", data, kind))

    def _store_object(self, key: str, data: bytes, kind: str) -> None:
        self._store.put(key, data, type=kind, cache=IMMUTABLE)

    def commit(self) -> None:
        """All bytes are in storage: create the indexes. A rendition whose index exists already was won by another attempt."""
        for rendition, segments in self._segments.items():
            if not segments or rendition not in self._inits:
                raise nonsense(f"nothing of {rendition}")
        for waiting in self._waiting:
            waiting.result()
        lost = [rendition for rendition in self._segments if not self._won(rendition)]
        self._remove(lost)

    def _won(self, rendition: str) -> bool:
        init, timescale, codecs = self._inits[rendition]
        index = ChunkIndex(
            rendition, self._chunk, self._name, init, timescale, codecs, tuple(self._segments[rendition])
        )
        try:
            self._store.put(
                index_key(self._prefix, rendition, self._chunk),
                index.to_json(),
                type="application/json",
                if_absent=True,
            )
        except ObjectExists:
            winner = ChunkIndex.from_json(self._store.read(index_key(self._prefix, rendition, self._chunk)))
            return winner.attempt == self._name  # a retried put may meet its own first try
        return True

    def _remove(self, renditions: list[str]) -> None:
        """A loser's segments are rubbish; if they can't be removed now, a sweep finds them by their attempt's name."""
        for rendition in renditions:
            for entry in self._segments[rendition]:
                with contextlib.suppress(StorageError):
                    self._store.delete(f"{self._prefix}/{rendition}/{entry.uri}")
