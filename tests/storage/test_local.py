"""The disk backend's own: durability, atomic names, and what a disk does that S3 does not."""

import errno
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from storage import KeyRefused, StorageDown, StorageFull
from storage.local import LocalStore

TEXT = "text/vtt"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_the_file_is_where_the_key_says(store: LocalStore) -> None:
    store.put("a/b.vtt", b"1", type=TEXT)
    assert (store.root / "a" / "b.vtt").read_bytes() == b"1"
    assert store.path("a/b.vtt") == store.root / "a" / "b.vtt"


def test_file_and_folders_are_synced_before_put_returns(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def spy(handle: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real(handle)

    monkeypatch.setattr(os, "fsync", spy)
    store.put("a/b/c.vtt", b"1", type=TEXT)
    assert synced == ["file", "folder", "folder", "folder"]  # the bytes, then the root, a/ and a/b/


@pytest.mark.parametrize(
    ("fault", "expected"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StorageDown)]
)
def test_a_disk_that_refuses_leaves_what_was_there(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, fault: int, expected: type[Exception]
) -> None:
    store.put("a.vtt", b"old", type=TEXT)

    def refuse(_: int) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(expected):
        store.put("a.vtt", b"new", type=TEXT)
    assert store.read("a.vtt") == b"old"
    assert list((store.root / "@tmp").iterdir()) == []


def test_unfinished_files_are_hidden_and_removed_after_a_day(store: LocalStore) -> None:
    recent, stale = store.root / "@tmp" / "recent", store.root / "@tmp" / "stale"
    for path in (recent, stale):
        path.write_bytes(b"half")
    os.utime(stale, (time.time() - 90_000,) * 2)
    assert list(LocalStore(store.root).list("")) == []
    assert recent.exists()
    assert not stale.exists()


def test_a_key_cannot_be_a_file_and_a_folder(store: LocalStore) -> None:
    store.put("a/b.vtt", b"1", type=TEXT)
    for if_absent in (True, False):
        with pytest.raises(KeyRefused):
            store.put("a/b.vtt/c.vtt", b"2", type=TEXT, if_absent=if_absent)
        with pytest.raises(KeyRefused):
            store.put("a", b"2", type=TEXT, if_absent=if_absent)
    assert store.read("a/b.vtt") == b"1"


def test_a_reader_keeps_the_version_it_began(store: LocalStore) -> None:
    store.put("a.vtt", b"old old old", type=TEXT)
    pieces = store.chunks("a.vtt", size=4)
    first = next(pieces)
    store.put("a.vtt", b"new new new", type=TEXT)
    assert first + b"".join(pieces) == b"old old old"


def test_a_stored_path_is_a_copy(store: LocalStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"as it was")
    store.put("a.vtt", source, type=TEXT)
    source.write_bytes(b"changed..")
    assert store.read("a.vtt") == b"as it was"


def test_folders_go_with_their_last_file(store: LocalStore) -> None:
    store.put("a/b/c.vtt", b"1", type=TEXT)
    store.put("a/d.vtt", b"1", type=TEXT)
    store.delete("a/b/c.vtt")
    assert sorted(path.name for path in (store.root / "a").iterdir()) == ["d.vtt"]
    store.delete("a")  # a folder is no object
    assert store.read("a/d.vtt") == b"1"


def test_puts_and_deletes_in_one_folder_do_not_trip_over_each_other(store: LocalStore) -> None:
    faults: list[Exception] = []

    def work(name: str) -> None:
        try:
            for _ in range(40):
                store.put(f"a/b/{name}.vtt", b"1", type=TEXT)
                store.delete(f"a/b/{name}.vtt")
        except Exception as error:  # a thread's error would be lost
            faults.append(error)

    threads = [threading.Thread(target=work, args=(f"n{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert list(store.list("")) == []


def test_presign_is_a_file_url(store: LocalStore) -> None:
    store.put("a.vtt", b"1", type=TEXT)
    assert store.presign("a.vtt", ttl_s=1) == f"file://{store.root}/a.vtt"
