"""Pieces of bytes read as one file, counted and hashed on the way."""

import hashlib
import io
from collections.abc import Iterable
from typing import Any, BinaryIO, cast


class Joined(io.RawIOBase):
    """For `ObjectStore.put`, which wants a file. Use `file()`."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = memoryview(b"")
        self._sha256 = hashlib.sha256()

    def file(self) -> BinaryIO:
        """The face that reads as much as is asked for."""
        return cast(BinaryIO, io.BufferedReader(self, 1 << 20))

    def sha256(self) -> str:
        """Of what was read."""
        return self._sha256.hexdigest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._sha256.update(piece)
            self._left = memoryview(piece)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
