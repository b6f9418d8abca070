"""What every backend promises: one module, run against memory, a disk and a real S3."""

import threading
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from storage import KeyRefused, ObjectExists, ObjectMissing, ObjectStore

TEXT = "text/vtt"
BIG = 20 << 20


def test_what_is_put_is_read(store: ObjectStore) -> None:
    store.put("a/b/c.vtt", b"hello", type=TEXT)
    assert store.read("a/b/c.vtt") == b"hello"


def test_put_tells_the_facts_that_head_tells(store: ObjectStore) -> None:
    put = store.put("a/playlist.m3u8", b"#EXTM3U", type="application/vnd.apple.mpegurl")
    head = store.head("a/playlist.m3u8")
    assert (put.key, put.size, put.etag, put.type) == (head.key, head.size, head.etag, head.type)
    assert (head.size, head.type) == (7, "application/vnd.apple.mpegurl")
    assert '"' not in head.etag
    assert abs(head.modified - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    store.put("empty.vtt", b"", type=TEXT)
    assert store.head("empty.vtt").size == 0
    assert store.read("empty.vtt") == b""
    assert list(store.chunks("empty.vtt")) == []


def test_put_replaces_and_changes_the_etag(store: ObjectStore) -> None:
    first = store.put("a.vtt", b"old", type=TEXT)
    second = store.put("a.vtt", b"new", type=TEXT)
    assert store.read("a.vtt") == b"new"
    assert first.etag != second.etag


@pytest.mark.parametrize("size", [5, BIG], ids=["small", "multipart"])
@pytest.mark.parametrize("source", ["bytes", "path", "stream", "pipe"])
def test_data_come_as_bytes_file_or_stream(store: ObjectStore, tmp_path: Path, source: str, size: int) -> None:
    data = _pattern(size)
    file = tmp_path / "source"
    file.write_bytes(data)
    sources: dict[str, bytes | Path | BinaryIO] = {
        "bytes": data,
        "path": file,
        "stream": BytesIO(data),
        "pipe": cast("BinaryIO", _Trickle(data)),
    }
    given = sources[source]
    assert store.put("film.mp4", given, type="video/mp4").size == size
    assert store.head("film.mp4").type == "video/mp4"
    assert b"".join(store.chunks("film.mp4")) == data


@pytest.mark.parametrize("size", [5, BIG], ids=["small", "multipart"])
def test_if_absent_keeps_the_first(store: ObjectStore, size: int) -> None:
    first, second = _pattern(size), b"x" * size
    store.put("index.json", first, type="application/json", if_absent=True)
    with pytest.raises(ObjectExists):
        store.put("index.json", second, type="application/json", if_absent=True)
    assert store.read("index.json") == first


def test_of_many_that_race_with_if_absent_one_wins(store: ObjectStore) -> None:
    won: list[bytes] = []
    start = threading.Barrier(6)

    def race(mine: bytes) -> None:
        start.wait()
        try:
            store.put("index.json", mine, type="application/json", if_absent=True)
            won.append(mine)
        except ObjectExists:
            pass

    threads = [threading.Thread(target=race, args=(b"%d" % n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [store.read("index.json")]


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (3, 4, b"3456"),
        (8, 100, b"89"),
        (10, 1, b""),
        (99, None, b""),
        (2, 0, b""),
    ],
)
def test_ranges(store: ObjectStore, start: int, length: int | None, expected: bytes) -> None:
    store.put("a.vtt", b"0123456789", type=TEXT)
    assert store.read("a.vtt", start, length) == expected
    assert b"".join(store.chunks("a.vtt", start, length, size=3)) == expected


def test_chunks_are_no_larger_than_asked(store: ObjectStore) -> None:
    store.put("a.vtt", _pattern(10_000), type=TEXT)
    assert max(len(piece) for piece in store.chunks("a.vtt", size=999)) <= 999


@pytest.mark.parametrize(("start", "length"), [(-1, None), (0, -1)])
def test_negative_ranges_are_a_mistake_of_the_caller(store: ObjectStore, start: int, length: int | None) -> None:
    store.put("a.vtt", b"0123456789", type=TEXT)
    with pytest.raises(ValueError, match="range"):
        store.read("a.vtt", start, length)


def test_what_is_missing_is_said_to_be_missing(store: ObjectStore) -> None:
    store.put("folder/a.vtt", b"1", type=TEXT)
    for key in ("none.vtt", "folder", "folder/a.vtt/deeper.vtt"):
        with pytest.raises(ObjectMissing):
            store.head(key)
        with pytest.raises(ObjectMissing):
            store.read(key)
        with pytest.raises(ObjectMissing):
            list(store.chunks(key, 0, 0))
        with pytest.raises(ObjectMissing):
            store.copy(key, "copy.vtt")


def test_list_is_recursive_and_sorted_by_key(store: ObjectStore) -> None:
    keys = ["a-b/1.vtt", "a.vtt", "a/1.vtt", "a/b/2.vtt", "a/b.vtt", "a0/1.vtt", "b/1.vtt"]
    for key in keys:
        store.put(key, key.encode(), type=TEXT)
    assert [info.key for info in store.list("")] == sorted(keys)
    assert [info.key for info in store.list("a/")] == ["a/1.vtt", "a/b.vtt", "a/b/2.vtt"]
    assert [info.key for info in store.list("a/b")] == ["a/b.vtt", "a/b/2.vtt"]
    assert [info.key for info in store.list("a0")] == ["a0/1.vtt"]
    assert list(store.list("nothing/here")) == []


def test_list_tells_size_type_and_etag(store: ObjectStore) -> None:
    put = store.put("v360/000000.m4s", b"12345", type="video/iso.segment")
    [listed] = store.list("v360/")
    assert (listed.size, listed.type, listed.etag) == (5, "video/iso.segment", put.etag)


def test_copy_brings_bytes_and_type(store: ObjectStore) -> None:
    store.put("a.m3u8", b"#EXTM3U", type="application/vnd.apple.mpegurl")
    store.put("b.m3u8", b"old", type="application/vnd.apple.mpegurl")
    copied = store.copy("a.m3u8", "b.m3u8")
    assert (copied.key, copied.size, copied.type) == ("b.m3u8", 7, "application/vnd.apple.mpegurl")
    assert store.read("b.m3u8") == b"#EXTM3U"


def test_delete_is_final_and_may_be_repeated(store: ObjectStore) -> None:
    store.put("a/b/c.vtt", b"1", type=TEXT)
    store.delete("a/b/c.vtt")
    store.delete("a/b/c.vtt")
    store.delete("never/was.vtt")
    assert list(store.list("")) == []
    with pytest.raises(ObjectMissing):
        store.head("a/b/c.vtt")


def test_gzip_is_told_by_the_name(store: ObjectStore) -> None:
    store.put("a.json.gz", b"\x1f\x8b", type="application/json", encoding="gzip")
    assert store.head("a.json.gz").encoding == "gzip"
    assert store.head("a.json.gz").type == "application/json"
    assert store.read("a.json.gz") == b"\x1f\x8b"
    for key, encoding in (("b.json", "gzip"), ("b.json.gz", None)):
        with pytest.raises(KeyRefused):
            store.put(key, b"", type="application/json", encoding=encoding)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "./a",
        "a b",
        "a%2fb",
        "a\\b",
        "a\0",
        "ä",
        "a\n",
        "@tmp/x",
        "a" * 256,
        "a/" * 512 + "a",
    ],
)
def test_bad_keys_are_refused_before_anything_happens(store: ObjectStore, key: str) -> None:
    with pytest.raises(KeyRefused):
        store.put(key, b"1", type=TEXT)
    with pytest.raises(KeyRefused):
        store.head(key)
    with pytest.raises(KeyRefused):
        store.read(key)
    with pytest.raises(KeyRefused):
        store.delete(key)
    with pytest.raises(KeyRefused):
        store.presign(key, ttl_s=60)
    assert list(store.list("")) == []


@pytest.mark.parametrize("prefix", ["/", "../", "a/../b", "a//", "a b", "ä"])
def test_bad_prefixes_are_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(KeyRefused):
        list(store.list(prefix))


def test_a_failing_stream_leaves_what_was_there(store: ObjectStore) -> None:
    store.put("film.mp4", b"old", type="video/mp4")
    for healthy in (10, 10 << 20):
        with pytest.raises(RuntimeError, match="gone"):
            store.put(
                "film.mp4", cast("BinaryIO", _Trickle(_pattern(healthy), then=RuntimeError("gone"))), type="video/mp4"
            )
    assert store.read("film.mp4") == b"old"
    assert [info.key for info in store.list("")] == ["film.mp4"]


class _Trickle:
    """A stream like a socket: gives less than asked, and may break."""

    def __init__(self, data: bytes, then: Exception | None = None) -> None:
        self._stream, self._then = BytesIO(data), then

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(min(size, 100_000) if size >= 0 else 100_000)
        if not piece and self._then:
            raise self._then
        return piece


def _pattern(size: int) -> bytes:
    """Bytes whose every place is different, so that swapped parts show."""
    block = b"".join(n.to_bytes(4, "big") for n in range(min(size, 1 << 20) // 4 + 1))
    return b"".join(bytes((n,)) + block for n in range(size // len(block) + 1))[:size]
