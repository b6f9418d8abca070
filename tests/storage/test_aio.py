"""The event loop's face of a store reads what the store itself reads."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from storage import ObjectMissing, ObjectStore, aio
from storage.memory import MemoryStore


@pytest.fixture
def film(store: ObjectStore) -> ObjectStore:
    store.put("film.mp4", bytes(range(256)) * 100, type="video/mp4")
    return store


async def test_head_and_read(film: ObjectStore) -> None:
    assert await aio.head(film, "film.mp4") == film.head("film.mp4")
    assert await aio.read(film, "film.mp4", 250, 10) == film.read("film.mp4", 250, 10)


@pytest.mark.parametrize(("start", "length"), [(0, None), (5, 1000), (25_590, 100), (99_999, None), (0, 0)])
async def test_chunks_are_the_range_in_pieces(film: ObjectStore, start: int, length: int | None) -> None:
    pieces = [piece async for piece in aio.chunks(film, "film.mp4", start, length, size=999)]
    assert b"".join(pieces) == film.read("film.mp4", start, length)
    assert all(0 < len(piece) <= 999 for piece in pieces)


async def test_leaving_early_closes_the_object(film: ObjectStore) -> None:
    async with aclosing(aio.chunks(film, "film.mp4", size=10)) as pieces:
        assert await anext(pieces) == bytes(range(10))


async def test_missing_is_missing(store: ObjectStore) -> None:
    with pytest.raises(ObjectMissing):
        await aio.head(store, "none.mp4")
    with pytest.raises(ObjectMissing):
        await anext(aio.chunks(store, "none.mp4"))


async def test_a_reader_who_is_cancelled_while_a_piece_is_fetched_still_closes_the_object() -> None:
    fetching, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def chunks(self, key: str, start: int = 0, length: int | None = None, size: int = 1) -> Iterator[bytes]:
            try:
                fetching.set()
                go_on.wait(10)
                yield b"late"
            finally:
                closed.set()

    async def read() -> None:
        async with aclosing(aio.chunks(Slow(), "film.mp4")) as pieces:
            await anext(pieces)

    reader = asyncio.create_task(read())
    await asyncio.to_thread(fetching.wait, 10)
    reader.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert closed.is_set()
