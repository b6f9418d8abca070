"""Objects in a dictionary: the same promises as the real backends except surviving the process. For tests."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from storage.base import (
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    check_encoding,
    check_key,
    check_prefix,
    check_range,
)


class MemoryStore:
    """An ObjectStore whose objects are immutable bytes, so readers need no lock."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[ObjectInfo, bytes]] = {}
        self._lock = threading.Lock()

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
        check_encoding(check_key(key), encoding)
        body = _whole(data)
        info = ObjectInfo(key, len(body), _etag(body), type, datetime.now(UTC), cache, encoding)
        with self._lock:
            if if_absent and key in self._objects:
                raise ObjectExists(key)
            self._objects[key] = (info, body)
        return info

    def head(self, key: str) -> ObjectInfo:
        return self._get(key)[0]

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        check_range(start, length)
        return self._get(key)[1][start : None if length is None else start + length]

    def chunks(self, key: str, start: int = 0, length: int | None = None, size: int = 1 << 20) -> Iterator[bytes]:
        body = self.read(key, start, length)
        for offset in range(0, len(body), size):
            yield body[offset : offset + size]

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        for key in sorted(key for key in self._objects.copy() if key.startswith(prefix)):
            if found := self._objects.get(key):
                yield found[0]

    def copy(self, source: str, key: str) -> ObjectInfo:
        info, body = self._get(source)
        check_encoding(check_key(key), info.encoding)
        copied = replace(info, key=key, modified=datetime.now(UTC))
        with self._lock:
            self._objects[key] = (copied, body)
        return copied

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(check_key(key), None)

    def presign(self, key: str, *, ttl_s: int) -> str:
        """A name for logs and comparisons; nothing can open it."""
        return f"memory:{check_key(key)}"

    def _get(self, key: str) -> tuple[ObjectInfo, bytes]:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise ObjectMissing(key) from None


def _whole(data: bytes | Path | BinaryIO) -> bytes:
    if isinstance(data, Path):
        return data.read_bytes()
    return data if isinstance(data, bytes) else b"".join(iter(lambda: data.read(1 << 20), b""))


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]
