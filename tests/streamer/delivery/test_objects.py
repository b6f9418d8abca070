"""Open files and hot bodies: bounded, closed, and never half."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

import pytest

from storage import ObjectMissing, StorageDown
from storage.local import LocalStore
from storage.memory import MemoryStore
from streamer.delivery import objects
from streamer.delivery.objects import Objects

BODY = os.urandom(3 * objects.PIECE + 17)


def disk(folder: Path, count: int = 1) -> LocalStore:
    store = LocalStore(folder)
    for number in range(count):
        store.put(f"a/{number}.m4s", BODY, type="")
    return store


def open_files(folder: Path) -> int:
    links = (os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return sum(link.startswith(str(folder)) for link in links)


async def settled(folder: Path, expected: int) -> int:
    """Open files once the threads that read them have let go of them, which they do in their own time."""
    for _ in range(100):
        if open_files(folder) == expected:
            break
        await asyncio.sleep(0.02)
    return open_files(folder)


async def read(kept: Objects, key: str, start: int = 0, length: int = len(BODY)) -> bytes:
    known = kept.get(key, 0.0) or await kept.find(key, 0.0)
    return b"".join([bytes(piece) async for piece in kept.pieces(known, start, length)])


@pytest.mark.parametrize("nowait", [True, False])
async def test_a_file_comes_in_pieces_whether_or_not_the_page_cache_can_be_asked(
    tmp_path: Path, nowait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not nowait:
        monkeypatch.setattr(objects, "_NOWAIT", None)
    kept = Objects(disk(tmp_path), 0)
    assert await read(kept, "a/0.m4s") == BODY
    assert await read(kept, "a/0.m4s", 5, objects.PIECE) == BODY[5 : 5 + objects.PIECE]


async def test_remembered_files_are_bounded_and_the_others_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "REMEMBERED", 3)
    kept = Objects(disk(tmp_path, 8), 0)
    for number in range(8):
        await read(kept, f"a/{number}.m4s")
    assert await settled(tmp_path, 3) == 3
    assert [kept.get(f"a/{number}.m4s", 0.0) is not None for number in range(8)] == [False] * 5 + [True] * 3


async def test_an_answer_under_way_outlives_its_eviction_and_its_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "REMEMBERED", 1)
    store = disk(tmp_path, 2)
    kept = Objects(store, 0)
    pieces = kept.pieces(await kept.find("a/0.m4s", 0.0), 0, len(BODY))
    began = bytes(await anext(pieces))
    await kept.find("a/1.m4s", 0.0)
    store.delete("a/0.m4s")
    assert began + b"".join([bytes(piece) async for piece in pieces]) == BODY
    del pieces
    assert open_files(tmp_path) == 1


async def test_what_is_asked_for_again_is_held_whole_and_shared(tmp_path: Path) -> None:
    kept = Objects(disk(tmp_path), 1 << 20)
    known = await kept.find("a/0.m4s", 0.0)
    assert await kept.whole(known) is None
    first, second = await kept.whole(known), await kept.whole(known)
    assert first == BODY and first is second


async def test_bodies_held_are_bounded_and_the_least_used_cools_first(tmp_path: Path) -> None:
    kept = Objects(disk(tmp_path, 3), 2 * len(BODY))
    known = [await kept.find(f"a/{number}.m4s", 0.0) for number in range(3)]
    for one in known:
        await kept.whole(one)
        await kept.whole(one)
    assert [one.body is not None for one in known] == [False, True, True]


async def test_what_is_too_big_for_the_memory_is_never_held(tmp_path: Path) -> None:
    kept = Objects(disk(tmp_path), len(BODY) - 1)
    known = await kept.find("a/0.m4s", 0.0)
    assert [await kept.whole(known) for _ in range(4)] == [None] * 4


async def test_a_crowd_on_a_cold_object_gets_it_right(tmp_path: Path) -> None:
    kept = Objects(disk(tmp_path), 1 << 20)

    async def viewer() -> bytes:
        known = kept.get("a/0.m4s", 0.0) or await kept.find("a/0.m4s", 0.0)
        return await kept.whole(known) or await read(kept, "a/0.m4s")

    assert set(await asyncio.gather(*(viewer() for _ in range(20)))) == {BODY}
    assert open_files(tmp_path) == 1


async def test_a_deleted_file_is_noticed_and_closed(tmp_path: Path) -> None:
    store = disk(tmp_path)
    kept = Objects(store, 1 << 20)
    await kept.find("a/0.m4s", 0.0)
    store.delete("a/0.m4s")
    assert kept.get("a/0.m4s", 1.0) is not None, "looked at a moment ago"
    assert kept.get("a/0.m4s", 6.0) is None
    with pytest.raises(ObjectMissing):
        await kept.find("a/0.m4s", 6.0)
    assert open_files(tmp_path) == 0


async def test_a_remote_body_stays_warm_when_the_object_is_found_unchanged() -> None:
    store = MemoryStore()
    store.put("a/0.m4s", BODY, type="")
    kept = Objects(store, 1 << 20)
    known = await kept.find("a/0.m4s", 0.0)
    await kept.whole(known)
    body = await kept.whole(known)
    assert kept.get("a/0.m4s", 59.0) is known and kept.get("a/0.m4s", 61.0) is None
    assert (await kept.find("a/0.m4s", 61.0)).body is body
    store.put("a/0.m4s", b"other", type="")
    assert (await kept.find("a/0.m4s", 122.0)).body is None


async def test_a_file_that_shrank_is_a_fault_and_not_a_short_answer(tmp_path: Path) -> None:
    kept = Objects(disk(tmp_path), 0)
    await kept.find("a/0.m4s", 0.0)
    os.truncate(tmp_path / "a" / "0.m4s", 100)
    with pytest.raises(StorageDown):
        await read(kept, "a/0.m4s")


async def test_a_folder_is_not_an_object(tmp_path: Path) -> None:
    with pytest.raises(ObjectMissing):
        await Objects(disk(tmp_path), 0).find("a", 0.0)


async def test_open_files_take_a_share_of_what_the_process_may_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (12, 12))
    kept = Objects(disk(tmp_path, 5), 0)
    for number in range(5):
        await kept.find(f"a/{number}.m4s", 0.0)
    assert open_files(tmp_path) == 3


async def test_without_a_descriptor_left_the_remembered_ones_make_room(tmp_path: Path) -> None:
    store = disk(tmp_path, 4)
    kept = Objects(store, 0)
    for number in range(3):
        await kept.find(f"a/{number}.m4s", 0.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = 1 + max(int(name) for name in os.listdir("/proc/self/fd"))
    fillers = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]  # whatever is free below the limit
    while max(fillers) < taken:
        fillers.append(os.open("/dev/null", os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(fillers) + 1, hard))
    try:
        known = await kept.find("a/3.m4s", 0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)
    assert b"".join([bytes(piece) async for piece in kept.pieces(known, 0, len(BODY))]) == BODY
    assert await settled(tmp_path, 1) == 1
