"""What is the disk's own about uploads: syncing, full disks, killed writers, marks beside a file, and a second name for an object."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from storage import ObjectMissing, StorageFull, UploadStore
from storage.local import LocalStore
from storage.memory import MemoryStore
from storage.uploads import LocalUploads
from tests.servers import ROOT


@pytest.fixture
def uploads(tmp_path: Path) -> LocalUploads:
    store = LocalUploads(tmp_path / "uploads", LocalStore(tmp_path / "objects"))
    store.create("upl_1")
    return store


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
    real = os.writev

    def half_then_full(handle: int, pieces: list[bytes]) -> int:
        if os.fstat(handle).st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, [pieces[0], pieces[1][:1]])

    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", half_then_full)
        with pytest.raises(StorageFull):
            uploads.append("upl_1", 0, [b"12", b"345"])
    assert uploads.size("upl_1") == 3
    assert uploads.append("upl_1", 3, [b"45"]) == 5
    assert (uploads.root / "upl_1").read_bytes() == b"12345"


@pytest.mark.parametrize(("whole", "left"), [(False, 5 + (2 << 20)), (True, 5)])
def test_a_writer_that_is_killed_leaves_no_lock_and_only_what_counts(
    uploads: LocalUploads, whole: bool, left: int
) -> None:
    uploads.append("upl_1", 0, [b"12345"])
    script = f"""if True:
        import os, signal
        from pathlib import Path
        from storage.memory import MemoryStore
        from storage.uploads import LocalUploads
        def chunks():
            yield b"x" * (2 << 20)
            os.kill(os.getpid(), signal.SIGKILL)
        LocalUploads(Path({str(uploads.root)!r}), MemoryStore()).append("upl_1", 5, chunks(), whole={whole})
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert list(uploads.ids()) == ["upl_1"]
    assert uploads.size("upl_1") == left
    assert uploads.append("upl_1", left, [b"on"]) == left + 2


def test_a_wish_that_nobody_waits_for_any_more_stops_nobody(uploads: LocalUploads) -> None:
    (uploads.root / "upl_1@hold").symlink_to("asked")  # its process was killed
    assert uploads.append("upl_1", 0, (b"x" for _ in range(3) if not uploads.asked("upl_1", silent=True))) == 3
    assert list(uploads.ids()) == ["upl_1"]


def test_an_object_on_the_same_disk_is_the_file_itself(uploads: LocalUploads, tmp_path: Path) -> None:
    uploads.append("upl_1", 0, [b"12345"])
    with uploads.hold("upl_1"):
        assert uploads.finish(["upl_1"], "sources/a/b") is None
    assert (tmp_path / "objects/sources/a/b").samefile(uploads.root / "upl_1")
    assert list((tmp_path / "objects/@tmp").iterdir()) == []


def test_a_store_elsewhere_gets_a_copy_whose_hash_is_told(tmp_path: Path) -> None:
    uploads = LocalUploads(tmp_path / "uploads", objects := MemoryStore())
    uploads.create("upl_1")
    uploads.append("upl_1", 0, [b"12345"])
    assert uploads.finish(["upl_1"], "sources/a/b") == hashlib.sha256(b"12345").hexdigest()
    assert objects.read("sources/a/b") == b"12345"


def test_a_disk_without_links_gets_a_copy(
    uploads: LocalUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    uploads.append("upl_1", 0, [b"12345"])
    monkeypatch.setattr(os, "link", refused)
    uploads.finish(["upl_1"], "sources/a/b")
    assert (tmp_path / "objects/sources/a/b").read_bytes() == b"12345"


def test_who_waited_while_an_upload_became_an_object_never_writes_to_that(uploads: LocalUploads) -> None:
    refused: list[bool] = []

    def late() -> None:
        with pytest.raises(ObjectMissing):
            uploads.append("upl_1", 5, [b"x"])
        refused.append(True)

    uploads.append("upl_1", 0, [b"12345"])
    with uploads.hold("upl_1"):
        waiting = threading.Thread(target=late)
        waiting.start()
        time.sleep(0.1)
        uploads.finish(["upl_1"], "sources/a/b")
        uploads.abort("upl_1")
    waiting.join()
    assert refused == [True]
