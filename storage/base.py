"""The storage contract: what a place for bytes can do, what it promises and how it fails.

Objects are whole: a reader sees all of one version or none of it, and `put` returns only when the bytes are durable.
Keys are `/`-joined segments of `[A-Za-z0-9._~-]{1,255}`, so that one key is the same text on a disk, in a URL and in S3.
A key is never also the folder of another key (`a` beside `a/b`): S3 could keep both, a disk cannot.
An object that is stored encoded says so in its name: `encoding="gzip"` goes with the suffix `.gz`, and nothing else does.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol

MAX_KEY = 1024
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,255}")  # 255 bytes are the longest name on a disk


class StorageError(Exception):
    """Root of everything storage raises. `code` is stable and meant for machines, the text for people."""

    code: ClassVar[str] = "storage_error"


class ObjectMissing(StorageError):
    """Nothing is stored under that key or upload id."""

    code = "object_missing"


class ObjectExists(StorageError):
    """`if_absent` was asked for and the key is taken."""

    code = "object_exists"


class KeyRefused(StorageError):
    """The key breaks the rules in the module docstring; nothing was touched."""

    code = "key_refused"


class OffsetMismatch(StorageError):
    """An append did not start where the upload ends; `size` is where it does end, in bytes."""

    code = "offset_mismatch"

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class UploadBusy(StorageError):
    """Somebody else is writing to this upload."""

    code = "upload_busy"


class PartsChanged(StorageError):
    """Parts of an object are not what they were when they were counted; it can't be made of them."""

    code = "parts_changed"


class StorageDown(StorageError):
    """The storage did not do it after the bounded retries; the same call may work later."""

    code = "storage_down"


class StorageFull(StorageError):
    """No room is left; what was stored before is untouched."""

    code = "storage_full"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object without reading it: `size` in bytes, `etag` opaque and without quotes, `modified` in UTC."""

    key: str
    size: int
    etag: str
    type: str
    modified: datetime
    cache: str | None = None
    encoding: str | None = None


class ObjectStore(Protocol):
    """Synchronous and safe to share between threads. `storage.aio` is its face for the event loop."""

    def put(
        self,
        key: str,
        data: bytes | Path | BinaryIO,
        *,
        type: str,
        cache: str | None = None,
        encoding: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Store the whole object, replacing what was there; with `if_absent` raise ObjectExists instead, atomically.

        `type` and `cache` are headers for clients that read the storage directly; a backend that has no place for
        them (a disk) derives the type from the key's suffix and forgets the rest.
        """
        ...

    def head(self, key: str) -> ObjectInfo:
        """Facts of one object, or ObjectMissing."""
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes `start` to `start + length`, shorter where the object ends, empty past its end."""
        ...

    def chunks(self, key: str, start: int = 0, length: int | None = None, size: int = 1 << 20) -> Iterator[bytes]:
        """The same range in pieces of at most `size` bytes, in flat memory and from one version of the object."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with this text, at any depth, sorted by key. `""` lists all."""
        ...

    def copy(self, source: str, key: str) -> ObjectInfo:
        """Copy inside the store, replacing what was under `key`."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; deleting what is not there is fine."""
        ...

    def presign(self, key: str, *, ttl_s: int) -> str:
        """A URL that reads the object for `ttl_s` seconds. A disk answers a `file://` URL, which never expires."""
        ...


class UploadStore(Protocol):
    """Files that grow until they are whole. Each byte below a returned offset survives a power cut, and where the bytes are
    in a store that many machines share, the loss of the machine too."""

    def create(self, id: str, key: str | None = None) -> None:
        """Begin an empty upload; ObjectExists when the id is taken.

        `key` is where it will stand when it is whole, for stores that can save a copy by knowing it early.
        """
        ...

    def append(self, id: str, offset: int, chunks: Iterable[bytes], *, whole: bool = False) -> int:
        """Add bytes at `offset`, which must be the present size, and return the new size; UploadBusy while another writes.

        Asks the other to let go if nothing comes to them: of two who both send, the first goes on.
        When `chunks` raises, what came before is kept and durable, and the error goes on to the caller. With `whole`
        nothing of this call is kept then, nor when the process dies in the middle of it.
        """
        ...

    def hold(self, id: str) -> AbstractContextManager[int]:
        """Bytes received so far, and nobody appends while the block lasts; UploadBusy or ObjectMissing.

        Asks whoever is appending to let go.
        """
        ...

    def size(self, id: str) -> int:
        """What `hold` gives, let go at once."""
        ...

    def asked(self, id: str, *, silent: bool) -> bool:
        """For the source of an append's chunks: whether it should end now, because another waits or the upload is gone.

        `silent` says that nothing has come for a while. Cheap enough to ask ten times a second.
        """
        ...

    def ids(self) -> Iterator[str]:
        """The uploads there are, in any order."""
        ...

    def finish(self, ids: Sequence[str], key: str) -> str | None:
        """Make one object `key` of these uploads, one after another, all of them held by the caller. They stay until `abort`.

        Their SHA-256 if the bytes passed by here anyway, None if they did not. Done again, it is the same object.
        """
        ...

    def abort(self, id: str) -> None:
        """Remove the upload; fine when there is none. What `finish` made stays."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an object that is not whole yet: its place, its size in bytes and the store's hash of it."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An object that somebody began to send in parts; `handle` is the store's name for that."""

    key: str
    handle: str
    begun: datetime


class PartStore(Protocol):
    """Objects that come in parts over hours, also from people who only have a signed URL, and are there whole or not at all.

    Numbers are 1 to 10,000 and may leave gaps. Every part but the last has at least 5 MiB.
    """

    def begin(self, key: str) -> str:
        """The handle of a new object in parts."""
        ...

    def put_part(self, key: str, handle: str, number: int, data: bytes) -> Part:
        """Store one part, replacing what had that number; ObjectMissing when the object is whole or given up."""
        ...

    def copy_part(self, key: str, handle: str, number: int, source: str, start: int, length: int) -> Part:
        """The same with a range of an object that is in the store already, and never leaves it."""
        ...

    def presign_part(self, key: str, handle: str, number: int, size: int, *, ttl_s: int) -> str:
        """A URL that takes exactly `size` bytes by PUT, for `ttl_s` seconds."""
        ...

    def parts(self, key: str, handle: str) -> list[Part]:
        """What came so far, by number; ObjectMissing when the object is whole or given up."""
        ...

    def complete(self, key: str, handle: str, parts: Sequence[Part]) -> None:
        """Make the object of exactly these parts. PartsChanged when one of them is not what it was, ObjectMissing as above."""
        ...

    def abandon(self, key: str, handle: str) -> None:
        """Remove the parts of what is not whole yet; fine when there are none."""
        ...

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """All that was begun below this prefix and is neither whole nor given up."""
        ...


def check_key(key: str) -> str:
    """The key itself, or KeyRefused. Dot segments are refused, so a key never leaves its folder."""
    if len(key) > MAX_KEY or not all(_fits(part) for part in key.split("/")):
        raise KeyRefused(f"not a storage key: {key[:80]!r}")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself, or KeyRefused: empty, or the beginning of a possible key."""
    folder, _, rest = prefix.rpartition("/")
    if folder:
        check_key(folder)
    if len(prefix) > MAX_KEY or prefix.startswith("/") or (rest and not _SEGMENT.fullmatch(rest)):
        raise KeyRefused(f"not a storage prefix: {prefix[:80]!r}")
    return prefix


def check_encoding(key: str, encoding: str | None) -> None:
    """Hold the rule that only `.gz` keys are gzip, so that a backend without headers can serve them rightly."""
    if encoding != encoding_of(key):
        raise KeyRefused(f"{key} is stored as {encoding_of(key) or 'plain bytes'}, not {encoding or 'plain bytes'}")


def encoding_of(key: str) -> str | None:
    """The content encoding that a key's suffix tells."""
    return "gzip" if key.endswith(".gz") else None


def check_range(start: int, length: int | None) -> None:
    """Refuse negative ranges, which the backends would each read in a way of their own."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"not a byte range: start {start}, length {length}")


def _fits(segment: str) -> bool:
    return segment not in (".", "..") and _SEGMENT.fullmatch(segment) is not None
