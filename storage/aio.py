"""The web's face of a store: the reads of ObjectStore, without holding up the event loop.

A disk is read through aiofiles; the other backends run in a thread pool (asyncio's own, or `executor`), one call per piece. Writing stays in
worker threads and processes, where the synchronous contract is at home.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Executor
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
    store: ObjectStore,
    key: str,
    start: int = 0,
    length: int | None = None,
    size: int = 1 << 20,
    executor: Executor | None = None,
) -> AsyncGenerator[bytes]:
    """`ObjectStore.chunks` for the event loop. Close it (`contextlib.aclosing`) when leaving early."""
    if isinstance(store, LocalStore):
        pieces = _disk(store, key, start, length, size, executor)
    else:
        pieces = _threaded(store, key, start, length, size, executor)
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


async def _disk(
    store: LocalStore, key: str, start: int, length: int | None, size: int, executor: Executor | None
) -> AsyncGenerator[bytes]:
    check_range(start, length)
    with disk_errors(key):
        try:
            file = await aiofiles.open(store.path(key), "rb", buffering=0, executor=executor)
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


async def _threaded(
    store: ObjectStore, key: str, start: int, length: int | None, size: int, executor: Executor | None
) -> AsyncGenerator[bytes]:
    pieces = store.chunks(key, start, length, size)
    loop = asyncio.get_running_loop()
    one_at_a_time = threading.Lock()  # a reader who is cancelled leaves its thread running: closing waits for that

    def step() -> bytes | None:
        with one_at_a_time:
            return next(pieces, None)

    def close() -> None:
        with one_at_a_time:
            if isinstance(pieces, Generator):
                pieces.close()

    try:
        while (piece := await loop.run_in_executor(executor, step)) is not None:
            yield piece
    finally:
        await loop.run_in_executor(executor, close)
