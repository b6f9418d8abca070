"""Uploads grow on disk, and what is answered is durable."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import KeyRefused, ObjectExists, ObjectMissing, OffsetMismatch, StorageFull, UploadBusy, UploadStore
from storage.uploads import LocalUploads
from tests.servers import ROOT


@pytest.fixture
def uploads(tmp_path: Path) -> LocalUploads:
    store = LocalUploads(tmp_path / "uploads")
    store.create("upl_1")
    return store


def test_an_upload_grows_to_the_whole_file(uploads: UploadStore) -> None:
    assert uploads.size("upl_1") == 0
    assert uploads.append("upl_1", 0, [b"one ", b"two "]) == 8
    assert uploads.append("upl_1", 8, [b"three"]) == 13
    assert uploads.size("upl_1") == 13
    assert uploads.finish("upl_1").read_bytes() == b"one two three"


def test_large_appends_keep_every_byte(uploads: UploadStore) -> None:
    pieces = [bytes((n % 251,)) * 70_000 for n in range(60)]
    assert uploads.append("upl_1", 0, pieces) == 60 * 70_000
    assert uploads.finish("upl_1").read_bytes() == b"".join(pieces)


def test_an_append_elsewhere_than_the_end_changes_nothing(uploads: UploadStore) -> None:
    uploads.append("upl_1", 0, [b"12345"])
    for offset in (0, 4, 6):
        with pytest.raises(OffsetMismatch) as refused:
            uploads.append("upl_1", offset, [b"x"])
        assert refused.value.size == 5
    assert uploads.finish("upl_1").read_bytes() == b"12345"


def test_what_came_before_the_sender_broke_off_is_kept(uploads: UploadStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"kept"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        uploads.append("upl_1", 0, broken())
    assert uploads.size("upl_1") == 4
    assert uploads.append("upl_1", 4, [b" on"]) == 7


def test_bytes_are_synced_before_the_offset_is_told(uploads: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def spy(handle: int) -> None:
        real(handle)
        synced.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fdatasync", spy)
    assert uploads.append("upl_1", 0, [b"12345"]) == 5
    assert synced == [5]


def test_a_full_disk_is_told_and_what_was_written_counts(uploads: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def half_then_full(handle: int, data: bytes) -> int:
        if os.fstat(handle).st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, bytes(data[:3]))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half_then_full)
        with pytest.raises(StorageFull):
            uploads.append("upl_1", 0, [b"12345"])
    assert uploads.size("upl_1") == 3
    assert uploads.append("upl_1", 3, [b"45"]) == 5
    assert uploads.finish("upl_1").read_bytes() == b"12345"


def test_of_two_appends_at_one_offset_one_is_refused(uploads: UploadStore) -> None:
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
    assert uploads.finish("upl_1").read_bytes() in (b"aaaa", b"bbbb")


def test_an_append_that_must_be_whole_keeps_all_or_nothing(uploads: UploadStore) -> None:
    def refused() -> Iterator[bytes]:
        yield b"x" * (3 << 20)
        raise ValueError("not what was announced")

    uploads.append("upl_1", 0, [b"12345"])
    with pytest.raises(ValueError, match="announced"):
        uploads.append("upl_1", 5, refused(), whole=True)
    assert uploads.size("upl_1") == 5
    assert uploads.append("upl_1", 5, [b"67"], whole=True) == 7
    assert uploads.finish("upl_1").read_bytes() == b"1234567"
    assert list(uploads.ids()) == ["upl_1"]


@pytest.mark.parametrize(("whole", "left"), [(False, 5 + (2 << 20)), (True, 5)])
def test_a_writer_that_is_killed_leaves_no_lock_and_only_what_counts(
    uploads: LocalUploads, whole: bool, left: int
) -> None:
    uploads.append("upl_1", 0, [b"12345"])
    script = f"""if True:
        import os, signal
        from pathlib import Path
        from storage.uploads import LocalUploads
        def chunks():
            yield b"x" * (2 << 20)
            os.kill(os.getpid(), signal.SIGKILL)
        LocalUploads(Path({str(uploads.root)!r})).append("upl_1", 5, chunks(), whole={whole})
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert list(uploads.ids()) == ["upl_1"]
    assert uploads.size("upl_1") == left
    assert uploads.append("upl_1", left, [b"on"]) == left + 2


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


def test_a_wish_that_nobody_waits_for_any_more_stops_nobody(uploads: LocalUploads) -> None:
    (uploads.root / "upl_1@hold").symlink_to("asked")  # its process was killed
    assert uploads.append("upl_1", 0, (b"x" for _ in range(3) if not uploads.asked("upl_1", silent=True))) == 3
    assert list(uploads.ids()) == ["upl_1"]


def test_an_aborted_upload_is_gone(uploads: UploadStore) -> None:
    path = uploads.finish("upl_1")
    uploads.abort("upl_1")
    uploads.abort("upl_1")
    assert not path.exists()
    for use in (uploads.size, uploads.finish, lambda id: uploads.append(id, 0, [])):
        with pytest.raises(ObjectMissing):
            use("upl_1")


def test_an_id_is_taken_once(uploads: UploadStore) -> None:
    with pytest.raises(ObjectExists):
        uploads.create("upl_1")


@pytest.mark.parametrize("id", ["", "..", "a/b", "/etc/passwd", "a\0", "a b", "%2e%2e"])
def test_ids_never_lead_elsewhere(uploads: UploadStore, id: str) -> None:
    for use in (uploads.create, uploads.size, uploads.finish, uploads.abort):
        with pytest.raises(KeyRefused):
            use(id)
