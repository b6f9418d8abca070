"""One attempt at some chunks: who wins, what is cleaned up, and what a child that was taken over can't do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from packager.attempt import Attempt, finished_chunks, index_key, sweep
from packager.errors import EncodeFailed
from packager.fmp4 import init_segment
from packager.index import ChunkIndex
from packager.sandbox import Message
from storage.base import ObjectExists, ObjectInfo, StorageDown
from storage.memory import MemoryStore
from tests.packager import tiny

SPANS = {"v90-100k": [range(0, 1), range(1, 3)]}
BOTH = {("v90-100k", 0), ("v90-100k", 1)}


@pytest.fixture(scope="module")
def init() -> Message:
    return Message("init", {"rendition": "v90-100k", "timescale": 30000}, init_segment(tiny.video(frames=2)[0]))


def segment(number: object, data: bytes = b"bytes", **fields: Any) -> Message:
    known = {"rendition": "v90-100k", "number": number, "start": 0, "duration": 6, "iframes": [[0, 4, 0]]}
    return Message("segment", known | fields, data)


def attempt(
    store: MemoryStore, wanted: set[tuple[str, int]], told: Callable[[ChunkIndex], None] = lambda index: None
) -> Attempt:
    return Attempt(store, "a/b", wanted, SPANS, told)


def names(store: MemoryStore, suffix: str = ".m4s") -> list[str]:
    return [info.key for info in store.list("a/b/") if info.key.endswith(suffix)]


def test_a_chunk_has_its_index_as_soon_as_its_last_segment_is_stored(init: Message) -> None:
    store, told = MemoryStore(), []
    with attempt(store, BOTH, told.append) as work:
        work.take(init)
        work.take(segment(0))
        assert [index.chunk for index in told] == [0] and len(names(store)) == 1
        work.take(segment(1))
        assert [index.chunk for index in told] == [0]
        work.take(segment(2))
        work.check()
    assert [index.chunk for index in told] == [0, 1]
    assert set(finished_chunks(store, "a/b")) == BOTH


def test_an_index_never_stands_before_its_segments(init: Message) -> None:
    class Slow(MemoryStore):
        def put(self, key: str, data: Any, **options: Any) -> ObjectInfo:
            if key.endswith("0000.json"):
                assert len(names(self)) == 1
            return super().put(key, data, **options)

    with attempt(Slow(), {("v90-100k", 0)}) as work:
        work.take(init)
        work.take(segment(0))
        work.check()


def test_the_slower_of_two_attempts_removes_what_it_stored_and_takes_the_winners_index(init: Message) -> None:
    store, told = MemoryStore(), []
    with attempt(store, {("v90-100k", 0)}) as first, attempt(store, {("v90-100k", 0)}, told.append) as second:
        for work in (first, second):
            work.take(init)
        first.take(segment(0, b"first"))
        second.take(segment(0, b"second"))
        second.check()
    (standing,) = names(store)
    assert store.read(standing) == b"first"
    assert f"v90-100k/{told[0].segments[0].uri}" == standing.removeprefix("a/b/")


def test_segments_of_chunks_that_are_done_are_passed_over(init: Message) -> None:
    store = MemoryStore()
    with attempt(store, {("v90-100k", 1)}) as work:
        for message in (init, segment(0), segment(1), segment(2)):
            work.take(message)
        work.check()
    assert set(finished_chunks(store, "a/b")) == {("v90-100k", 1)} and len(names(store)) == 2


def test_a_failed_attempt_keeps_its_whole_chunks_and_removes_the_rest(init: Message) -> None:
    store = MemoryStore()
    with pytest.raises(RuntimeError), attempt(store, BOTH) as work:
        for message in (init, segment(0), segment(1)):
            work.take(message)
        raise RuntimeError
    assert set(finished_chunks(store, "a/b")) == {("v90-100k", 0)} and len(names(store)) == 1


def test_an_attempt_that_ends_too_early_is_a_failure(init: Message) -> None:
    with pytest.raises(EncodeFailed, match="nothing of v90-100k"), attempt(MemoryStore(), BOTH) as work:
        work.take(init)
        work.take(segment(0))
        work.check()


NONSENSE = {
    "a rendition nobody asked for": segment(0, rendition="../../etc"),
    "no rendition": Message("segment", {}, b""),
    "a number outside the film": segment(99),
    "a number in words": segment("one"),
    "key frames that are none": segment(0, iframes=[[1]]),
    "no duration": segment(0, duration=None),
    "a segment out of order": segment(2),
}


@pytest.mark.parametrize("message", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_one_failed_attempt_and_leaves_nothing(message: Message, init: Message) -> None:
    store = MemoryStore()
    with pytest.raises(EncodeFailed), attempt(store, BOTH) as work:
        work.take(init)
        work.take(message)
    assert not names(store) and not finished_chunks(store, "a/b")


def test_a_segment_before_its_init_or_an_init_that_is_none_is_nonsense(init: Message) -> None:
    with pytest.raises(EncodeFailed), attempt(MemoryStore(), BOTH) as work:
        work.take(segment(0))
    with pytest.raises(EncodeFailed), attempt(MemoryStore(), BOTH) as work:
        work.take(Message("init", init.fields, b"not a box"))


def test_storage_that_fails_fails_the_attempt_with_its_own_error(init: Message) -> None:
    class Down(MemoryStore):
        def put(self, key: str, data: Any, **options: Any) -> ObjectInfo:
            if key.endswith(".m4s"):
                raise StorageDown("no answer")
            return super().put(key, data, **options)

    with pytest.raises(StorageDown), attempt(Down(), BOTH) as work:
        work.take(init)
        work.take(segment(0))


def test_a_retried_put_that_meets_its_own_first_try_has_won(init: Message) -> None:
    class Twice(MemoryStore):
        """The first answer got lost, so the client's retry finds the object there."""

        def put(self, key: str, data: Any, **options: Any) -> ObjectInfo:
            done = super().put(key, data, **options)
            if options.get("if_absent"):
                raise ObjectExists(key)
            return done

    store = Twice()
    with attempt(store, {("v90-100k", 0)}) as work:
        work.take(init)
        work.take(segment(0))
        work.check()
    assert len(names(store)) == 1


def test_an_index_whose_answer_was_lost_keeps_its_segments(init: Message) -> None:
    class Lossy(MemoryStore):
        def put(self, key: str, data: Any, **options: Any) -> ObjectInfo:
            info = super().put(key, data, **options)
            if key.endswith(".json"):
                raise StorageDown("the answer was lost")
            return info

    store = Lossy()
    with pytest.raises(StorageDown), attempt(store, {("v90-100k", 0)}) as work:
        work.take(init)
        work.take(segment(0))
    (index,) = finished_chunks(store, "a/b").values()
    assert names(store) == [f"a/b/v90-100k/{index.segments[0].uri}"]


def test_a_sweep_removes_only_segments_that_no_index_names(init: Message) -> None:
    store = MemoryStore()
    with attempt(store, BOTH) as work:
        for message in (init, segment(0), segment(1), segment(2)):
            work.take(message)
    kept = [info.key for info in store.list("")]
    store.put("a/b/v90-100k/0000-0badc0de/000000.m4s", b"left by a killed attempt", type="video/iso.segment")
    store.put("a/bc/v90-100k/0000-0badc0de/000000.m4s", b"another film's", type="video/iso.segment")
    sweep(store, "a/b")
    assert [info.key for info in store.list("a/b/")] == kept
    assert store.head("a/bc/v90-100k/0000-0badc0de/000000.m4s")


def test_indexes_survive_json(init: Message) -> None:
    store = MemoryStore()
    with attempt(store, {("v90-100k", 0)}) as work:
        work.take(init)
        work.take(segment(0))
    index = finished_chunks(store, "a/b")["v90-100k", 0]
    assert ChunkIndex.from_json(index.to_json()) == index
    assert store.read(index_key("a/b", "v90-100k", 0)) == index.to_json()
