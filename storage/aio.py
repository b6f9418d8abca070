"""The web's face of a store: the reads of ObjectStore, without holding up the event loop.

A disk is read through aiofiles; the other backends run in the default thread pool, one call per piece. Writing stays in
worker threads and processes, where the synchronous contract is at home.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

import aiofiles

from storage.base import ObjectInfo, ObjectMissing, ObjectStore, check_range
from storage.disk import disk_errors
from storage.local import LocalStore


async def head(store: ObjectStore, key: str) -> ObjectInfo:
    """`ObjectStore.head` for the event loop."""
    return await asyncio.to_thread(store.head, key)


async def read(store: ObjectStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    """`ObjectStore.read` for the event loop; for small objects, since it holds them whole."""
    return await asyncio.to_thread(store.read, key, start, length)


async def chunks(
    store: ObjectStore, key: str, start: int = 0, length: int | None = None, size: int = 1 << 20
) -> AsyncGenerator[bytes]:
    """`ObjectStore.chunks` for the event loop. Close it (`contextlib.aclosing`) when leaving early."""
    if isinstance(store, LocalStore):
        pieces = _disk(store, key, start, length, size)
    else:
        pieces = _threaded(store, key, start, length, size)
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


async def _disk(store: LocalStore, key: str, start: int, length: int | None, size: int) -> AsyncGenerator[bytes]:
    check_range(start, length)
    with disk_errors(key):
        try:
            file = await aiofiles.open(store.path(key), "rb", buffering=0)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectMissing(key) from None
        try:
            await file.seek(start)
            left = sys.maxsize if length is None else length
            while left > 0 and (piece := await file.read(min(size, left))):
                left -= len(piece)
                yield piece
        finally:
            await file.close()


async def _threaded(store: ObjectStore, key: str, start: int, length: int | None, size: int) -> AsyncGenerator[bytes]:
    pieces = store.chunks(key, start, length, size)
    try:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    finally:
        if close := getattr(pieces, "close", None):
            await asyncio.to_thread(close)
