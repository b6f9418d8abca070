"""Bytes from a disk into storage, as the source of a film: hashed and counted as they are read, once."""

import hashlib
import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from storage import ObjectStore
from streamer.catalog.versions import Source

_BUFFER = 1 << 20


def put(
    store: ObjectStore, key: str, name: str, paths: Sequence[Path], look: Callable[[int], None] = lambda size: None
) -> Source:
    """Store the files one after another as one object. `look(size)` is told how far it is; what it raises ends it, and nothing is stored."""
    with _Reader(paths, look) as reader:
        store.put(key, io.BufferedReader(reader, _BUFFER), type="application/octet-stream")
    return Source(key, name, reader.size, reader.sha256.hexdigest())


class _Reader(io.RawIOBase):
    """Files one after another, counted and hashed as they are read."""

    def __init__(self, paths: Sequence[Path], look: Callable[[int], None]) -> None:
        self._stack, self._look = ExitStack(), look
        self._files = [self._stack.enter_context(path.open("rb", buffering=0)) for path in paths]
        self.size, self.sha256 = 0, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._files:
            if count := self._files[0].readinto(buffer):
                self.sha256.update(memoryview(buffer)[:count])
                self.size += count
                self._look(self.size)
                return count
            self._files.pop(0)
        return 0

    def close(self) -> None:
        self._stack.close()
        super().close()
