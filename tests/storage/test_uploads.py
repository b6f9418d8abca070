"""Uploads grow, what is answered is durable, and whole ones become objects: the same on a disk and in S3."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from storage import (
    KeyRefused,
    ObjectExists,
    ObjectMissing,
    ObjectStore,
    OffsetMismatch,
    UploadBusy,
    UploadStore,
    in_parts,
)
from storage.ledger import MemoryLedger
from storage.local import LocalStore
from storage.stored_uploads import StoredUploads
from storage.uploads import LocalUploads
from tests.storage.conftest import s3_store

MIB = 1 << 20


@pytest.fixture(params=["local", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalStore(tmp_path / "objects")
    return s3_store(request.getfixturevalue("seaweedfs"))


@pytest.fixture
def uploads(objects: ObjectStore, tmp_path: Path) -> UploadStore:
    parts = in_parts(objects)
    store = StoredUploads(objects, parts, MemoryLedger()) if parts else LocalUploads(tmp_path / "uploads", objects)
    store.create("upl_1", "sources/ast_1/upl_1")
    return store


def made(uploads: UploadStore, objects: ObjectStore, *ids: str) -> bytes:
    """The bytes of the object that the uploads become."""
    key = "sources/ast_1/upl_1"
    with ExitStack() as held:
        for id in ids:
            held.enter_context(uploads.hold(id))
        uploads.finish(ids, key)
    return objects.read(key)


def test_an_upload_grows_to_the_whole_file(uploads: UploadStore, objects: ObjectStore) -> None:
    assert uploads.size("upl_1") == 0
    assert uploads.append("upl_1", 0, [b"one ", b"two "]) == 8
    assert uploads.append("upl_1", 8, [b"three"]) == 13
    assert uploads.size("upl_1") == 13
    assert made(uploads, objects, "upl_1") == b"one two three"


def test_large_appends_keep_every_byte(uploads: UploadStore, objects: ObjectStore) -> None:
    pieces = [bytes((n % 251,)) * 70_000 for n in range(300)]
    assert uploads.append("upl_1", 0, pieces) == 300 * 70_000
    assert made(uploads, objects, "upl_1") == b"".join(pieces)


def test_an_append_elsewhere_than_the_end_changes_nothing(uploads: UploadStore, objects: ObjectStore) -> None:
    uploads.append("upl_1", 0, [b"12345"])
    for offset in (0, 4, 6):
        with pytest.raises(OffsetMismatch) as refused:
            uploads.append("upl_1", offset, [b"x"])
        assert refused.value.size == 5
    assert made(uploads, objects, "upl_1") == b"12345"


def test_what_came_before_the_sender_broke_off_is_kept(uploads: UploadStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"kept"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        uploads.append("upl_1", 0, broken())
    assert uploads.size("upl_1") == 4
    assert uploads.append("upl_1", 4, [b" on"]) == 7


def test_of_two_appends_at_one_offset_one_is_refused(uploads: UploadStore, objects: ObjectStore) -> None:
    results: list[str] = []
    start = threading.Barrier(2)

    def append(data: bytes) -> None:
        start.wait()
        try:
            results.append(f"stored {uploads.append('upl_1', 0, [data])}")
        except OffsetMismatch as refused:
            results.append(f"refused at {refused.size}")

    threads = [threading.Thread(target=append, args=(data,)) for data in (b"aaaa", b"bbbb")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["refused at 4", "stored 4"]
    assert made(uploads, objects, "upl_1") in (b"aaaa", b"bbbb")


def test_an_append_that_must_be_whole_keeps_all_or_nothing(uploads: UploadStore, objects: ObjectStore) -> None:
    def refused() -> Iterator[bytes]:
        yield b"x" * (3 << 20)
        raise ValueError("not what was announced")

    uploads.append("upl_1", 0, [b"12345"])
    with pytest.raises(ValueError, match="announced"):
        uploads.append("upl_1", 5, refused(), whole=True)
    assert uploads.size("upl_1") == 5
    assert uploads.append("upl_1", 5, [b"67"], whole=True) == 7
    assert made(uploads, objects, "upl_1") == b"1234567"
    assert list(uploads.ids()) == ["upl_1"]


def test_nobody_writes_to_an_upload_that_somebody_holds(uploads: UploadStore) -> None:
    uploads.append("upl_1", 0, [b"12345"])
    with uploads.hold("upl_1") as size:
        assert size == 5
        for use in (lambda: uploads.append("upl_1", 5, [b"x"]), lambda: uploads.size("upl_1")):
            with pytest.raises(UploadBusy):
                use()
    assert uploads.append("upl_1", 5, [b"x"]) == 6


def test_who_finds_an_upload_taken_asks_for_it_and_the_wish_ends_with_the_writer(uploads: UploadStore) -> None:
    heard: list[tuple[bool, bool]] = []

    def until_asked() -> Iterator[bytes]:
        yield b"kept"
        while not uploads.asked("upl_1", silent=True):
            time.sleep(0.01)
        heard.append((uploads.asked("upl_1", silent=False), uploads.asked("upl_1", silent=True)))
        raise ConnectionAbortedError

    def write(offset: int) -> None:
        with pytest.raises(ConnectionAbortedError):
            uploads.append("upl_1", offset, until_asked())

    for wish, size in ((lambda: uploads.size("upl_1"), 4), (lambda: uploads.append("upl_1", 8, [b"!"]), 9)):
        writer = threading.Thread(target=write, args=(uploads.size("upl_1"),))
        writer.start()
        time.sleep(0.05)
        assert wish() == size
        writer.join()
        assert not uploads.asked("upl_1", silent=True)
    assert heard == [(True, True), (False, True)], "an append asks only a writer to whom nothing comes"
    uploads.abort("upl_1")
    assert uploads.asked("upl_1", silent=False), "what is gone needs no more bytes"


def test_an_aborted_upload_is_gone(uploads: UploadStore, objects: ObjectStore) -> None:
    uploads.append("upl_1", 0, [bytes(9 * MIB)])
    uploads.abort("upl_1")
    uploads.abort("upl_1")
    assert list(uploads.ids()) == list(objects.list("")) == []
    for use in (uploads.size, lambda id: uploads.append(id, 0, [])):
        with pytest.raises(ObjectMissing):
            use("upl_1")


def test_an_id_is_taken_once(uploads: UploadStore) -> None:
    with pytest.raises(ObjectExists):
        uploads.create("upl_1")


@pytest.mark.parametrize("id", ["", "..", "a/b", "/etc/passwd", "a\0", "a b", "%2e%2e"])
def test_ids_never_lead_elsewhere(uploads: UploadStore, id: str) -> None:
    for use in (uploads.create, uploads.size, uploads.abort):
        with pytest.raises(KeyRefused):
            use(id)


def test_an_upload_of_many_small_pieces_keeps_their_order(uploads: UploadStore, objects: ObjectStore) -> None:
    pieces = [bytes((n,)) * 700_001 for n in range(40)]
    for n, piece in enumerate(pieces):
        assert uploads.append("upl_1", n * 700_001, [piece]) == (n + 1) * 700_001
    assert made(uploads, objects, "upl_1") == b"".join(pieces)


@pytest.mark.parametrize("sizes", [(6 * MIB, 9 * MIB, 3), (7, 9 * MIB, 1)], ids=["large", "small"])
def test_several_become_one_object(uploads: UploadStore, objects: ObjectStore, sizes: tuple[int, ...]) -> None:
    parts = {f"upl_part{n}": bytes((n + 1,)) * size for n, size in enumerate(sizes)}
    for id, data in parts.items():
        uploads.create(id)
        uploads.append(id, 0, [data])
    assert made(uploads, objects, *parts) == b"".join(parts.values())
    for id in parts:
        uploads.abort(id)
    assert [info.key for info in objects.list("")] == ["sources/ast_1/upl_1"]


@pytest.mark.parametrize("size", [5, 17 * MIB], ids=["small", "large"])
def test_who_finishes_again_gets_the_same_object_and_abort_leaves_it(
    uploads: UploadStore, objects: ObjectStore, size: int
) -> None:
    uploads.append("upl_1", 0, [bytes(size)])
    assert made(uploads, objects, "upl_1") == made(uploads, objects, "upl_1") == bytes(size)
    assert uploads.size("upl_1") == size
    uploads.abort("upl_1")
    assert [info.size for info in objects.list("")] == [size]
