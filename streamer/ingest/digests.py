"""SHA-256 of uploads while they grow, so that nobody has to read a film again to know its hash.

hashlib can't write down how far a hash has come. So each process remembers the hashes of the uploads it took bytes of, by upload and offset: a
request that goes on at that very offset, in that process, goes on with the hash. Elsewhere (another machine, a restart) the hash is not
known, and is taken by reading the finished object once. What was acknowledged never changes, so a remembered hash is never wrong.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Protocol

from storage import ObjectStore

_KEPT = 1024


class Hash(Protocol):
    """What we need of hashlib's objects."""

    def update(self, data: bytes, /) -> None: ...

    def copy(self) -> "Hash": ...

    def hexdigest(self) -> str: ...


class Digests:
    """The newest uploads' hashes; one per process."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, Hash]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, upload_id: str, offset: int) -> Hash | None:
        """The hash of all bytes before `offset`, to be gone on with; None when it is not known here."""
        if offset == 0:
            return hashlib.sha256()
        with self._lock:
            known = self._known.get(upload_id)
        return known[1].copy() if known and known[0] == offset else None

    def keep(self, upload_id: str, offset: int, value: Hash | None) -> None:
        """Remember the hash of all bytes before `offset`, which are durable."""
        if value is None:
            return
        with self._lock:
            self._known[upload_id] = offset, value
            self._known.move_to_end(upload_id)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)

    def whole(self, upload_id: str, size: int) -> str | None:
        """The hash of an upload of this size, if all of it passed by here."""
        known = self.begin(upload_id, size)
        return known.hexdigest() if known else None


@cache
def digests() -> Digests:
    """The process's own."""
    return Digests()


def passing(batches: Iterator[bytes], value: Hash | None) -> Iterator[bytes]:
    """The batches, hashed as they pass."""
    for batch in batches:
        if value is not None:
            value.update(batch)
        yield batch


def of_object(store: ObjectStore, key: str, look: Callable[[int], None] = lambda size: None) -> str:
    """Read in pieces, in flat memory. `look(size)` is told how far it is; what it raises ends it."""
    value, size = hashlib.sha256(), 0
    for piece in store.chunks(key):
        value.update(piece)
        look(size := size + len(piece))
    return value.hexdigest()
