"""One attempt at one chunk: segments go to storage under names of its own, indexes last and only if absent."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from packager import fmp4
from packager.errors import EncodeFailed
from packager.index import ChunkIndex, IFrame, SegmentEntry
from packager.sandbox import Message
from storage.base import ObjectExists, ObjectStore, StorageError

IMMUTABLE = "public, max-age=31536000, immutable"
PARALLEL_PUTS = 4
INDEX = re.compile(r"(?P<rendition>[a-z0-9-]+)/(?P<chunk>\d{4,})\.json")


def index_key(prefix: str, rendition: str, chunk: int) -> str:
    return f"{prefix}/{rendition}/{chunk:04d}.json"


def finished_chunks(store: ObjectStore, prefix: str) -> set[tuple[str, int]]:
    """(rendition, chunk) of every index under `prefix`."""
    names = (info.key.removeprefix(f"{prefix}/") for info in store.list(f"{prefix}/"))
    return {(match["rendition"], int(match["chunk"])) for name in names if (match := INDEX.fullmatch(name))}


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
        rendition = message.fields["rendition"]
        if rendition not in self._segments:
            raise EncodeFailed(
                "decoder_failed", "The encoder answered nonsense", f"It made {rendition}, which nobody asked for."
            )
        if message.kind == "init":
            self._init(rendition, message)
        else:
            self._segment(rendition, message)

    def _init(self, rendition: str, message: Message) -> None:
        uri = f"init-{hashlib.sha256(message.payload).hexdigest()[:12]}.mp4"
        self._inits[rendition] = (uri, message.fields["timescale"], fmp4.codecs(message.payload))
        self._put(f"{rendition}/{uri}", message.payload, "video/mp4" if rendition.startswith("v") else "audio/mp4")

    def _segment(self, rendition: str, message: Message) -> None:
        fields, data = message.fields, message.payload
        uri = f"{self._chunk:04d}-{self._name}/{fields['number']:06d}.m4s"
        frames = tuple(IFrame(*frame) for frame in fields["iframes"])
        digest = hashlib.sha256(data).hexdigest()
        self._segments[rendition].append(
            SegmentEntry(uri, fields["number"], fields["start"], fields["duration"], len(data), digest, frames)
        )
        self._put(f"{rendition}/{uri}", data, "video/iso.segment")

    def _put(self, name: str, data: bytes, kind: str) -> None:
        while len(self._waiting) >= 2 * PARALLEL_PUTS:
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(self._store_object, f"{self._prefix}/{name}", data, kind))

    def _store_object(self, key: str, data: bytes, kind: str) -> None:
        self._store.put(key, data, type=kind, cache=IMMUTABLE)

    def commit(self) -> None:
        """All bytes are in storage: create the indexes. A rendition whose index exists already was won by another attempt."""
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
