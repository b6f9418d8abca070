"""Media objects, ready to send: open files or remote bytes, and the hot ones whole in memory. All bounded.

Objects under a version never change, so their facts and file handles are remembered; a look every few seconds notices deletion.
A disk is read on the event loop, but only where the page cache already has the bytes (`RWF_NOWAIT`): that is three times as fast as
handing each piece to a thread, and a cold disk still never holds up other viewers, because what is not there yet is read in one.
An object asked for again while it is remembered is kept whole: one copy is then shared by every connection that sends it, which beats
sendfile, since the kernel reads no file at all.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from storage import ObjectInfo, ObjectMissing, ObjectStore, StorageDown, aio
from storage.local import LocalStore
from streamer.delivery.conditions import http_date
from streamer.delivery.threads import READERS, reading

PIECE = 256 << 10
HOT_OBJECT = 8 << 20
REMEMBERED = 1024
_HANDLES_SHARE = 4  # at most one in so many of the process's descriptors; the rest is for sockets
_NO_HANDLE_LEFT = (errno.EMFILE, errno.ENFILE)
_LOCAL_CHECK_S, _REMOTE_CHECK_S = 5.0, 60.0
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)


@dataclass(slots=True, eq=False)
class Object:
    """`handle` is an open file or -1; it closes with the last user of the object, so an evicted one still finishes its answers."""

    info: ObjectInfo
    etag: bytes
    modified: bytes
    handle: int
    checked: float
    asked: int = 0
    body: bytes | None = None

    def __del__(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)


class Objects:
    """`hot_bytes` bounds the bodies held in memory; 0 holds none."""

    def __init__(self, store: ObjectStore, hot_bytes: int) -> None:
        self._store = store
        self._local = store if isinstance(store, LocalStore) else None
        self._hot_bytes = hot_bytes
        self._hot_size = 0
        self._known: OrderedDict[str, Object] = OrderedDict()
        self._most = min(REMEMBERED, max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _HANDLES_SHARE))

    def get(self, key: str, now: float) -> Object | None:
        """The object if it is remembered and was looked at lately."""
        known = self._known.get(key)
        if known is None or (now - known.checked > _LOCAL_CHECK_S and not self._still_there(known, now)):
            return None
        self._known.move_to_end(key)
        return known

    async def find(self, key: str, now: float) -> Object:
        """Look it up in the store. Raises StorageError."""
        try:
            found = await self._found(key, now)
        except ObjectMissing:
            self._forget(key)
            raise
        old = self._known.get(key)
        if old and old.etag == found.etag:
            found.body, old.body, found.asked = old.body, None, old.asked
        elif old:
            self._cool(old)
        self._known[key] = found
        while len(self._known) > self._most:
            self._cool(self._known.popitem(last=False)[1])
        return found

    async def whole(self, known: Object) -> bytes | None:
        """The body when it is held or worth holding, else None: send it in pieces."""
        known.asked += 1
        if known.body is None and known.asked == 2 and known.info.size <= min(HOT_OBJECT, self._hot_bytes):
            body = b"".join([bytes(piece) async for piece in self.pieces(known, 0, known.info.size)])
            self._heat(known, body)
        return known.body

    async def pieces(self, known: Object, start: int, length: int) -> AsyncGenerator[bytes | memoryview]:
        """The bytes in order, PIECE at a time from a disk. StorageDown when the object turns out shorter."""
        if known.body is not None:
            yield memoryview(known.body)[start : start + length]
        elif known.handle >= 0:
            async with aclosing(_file_pieces(known.handle, start, start + length)) as read:
                async for piece in read:
                    yield piece
        else:
            async with aclosing(aio.chunks(self._store, known.info.key, start, length, executor=READERS)) as fetched:
                async for chunk in fetched:
                    yield chunk

    async def _found(self, key: str, now: float) -> Object:
        try:
            return await reading(self._open, key, now)
        except _NoHandleLeft:  # more connections than expected: what is remembered has to make room for them
            for other in list(self._known):
                self._forget(other)
            return await reading(self._open, key, now)

    def _open(self, key: str, now: float) -> Object:
        info = self._store.head(key)
        handle = _open_file(self._local, key) if self._local else -1
        return Object(info, f'"{info.etag}"'.encode(), http_date(info.modified), handle, now)

    def _still_there(self, known: Object, now: float) -> bool:
        """A file that was deleted or replaced has no name left. A remote object is simply looked up again after a while."""
        if known.handle < 0:
            return now - known.checked <= _REMOTE_CHECK_S
        known.checked = now
        return os.fstat(known.handle).st_nlink > 0

    def _heat(self, known: Object, body: bytes) -> None:
        if self._known.get(known.info.key) is not known or known.body is not None:
            return
        known.body = body
        self._hot_size += len(body)
        for other in list(self._known.values()):
            if self._hot_size <= self._hot_bytes:
                break
            if other is not known:
                self._cool(other)

    def _forget(self, key: str) -> None:
        if known := self._known.pop(key, None):
            self._cool(known)

    def _cool(self, known: Object) -> None:
        if known.body is not None:
            self._hot_size -= len(known.body)
            known.body, known.asked = None, 0


class _NoHandleLeft(StorageDown):
    """The process has as many files open as it may."""


def _open_file(store: LocalStore, key: str) -> int:
    try:
        handle = os.open(store.path(key), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ObjectMissing(key) from None
    except OSError as error:
        down = _NoHandleLeft if error.errno in _NO_HANDLE_LEFT else StorageDown
        raise down(f"{key}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ObjectMissing(key)
    return handle


async def _file_pieces(handle: int, start: int, end: int) -> AsyncGenerator[memoryview]:
    while start < end:
        size = min(PIECE, end - start)
        piece = _read_cached(handle, size, start) or memoryview(await reading(os.pread, handle, size, start))
        if not piece:
            raise StorageDown("a file ended early")
        start += len(piece)
        yield piece


def _read_cached(handle: int, size: int, start: int) -> memoryview | None:
    """What the page cache has at once, or None. Some filesystems cannot tell; theirs is always read in a thread."""
    if _NOWAIT is None:
        return None
    buffer = bytearray(size)
    try:
        return memoryview(buffer)[: os.preadv(handle, [buffer], start, _NOWAIT)]
    except OSError:
        return None
