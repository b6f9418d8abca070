"""Where a worker finds the source it encodes: on storage's own disk if it has one, else in a copy that lasts as long as the job.

Each copy has a folder that its process keeps locked, so what a killed worker left behind is known from what is in use, and goes
when the next job starts.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage import ObjectMissing
from streamer import ids
from streamer.jobs.errors import TaskFailed, TaskStopped
from streamer.services import Services

_PIECE = 4 << 20


@contextmanager
def source(services: Services, key: str, size: int, stopped: Callable[[], bool]) -> Iterator[Path]:
    """The object's bytes as a file that must not be changed. TaskFailed when there is no room or no object."""
    if (path := _on_disk(services, key)) is not None:
        yield path
        return
    with _folder(services.config.scratch_dir) as folder:
        _check_room(services, folder, size)
        yield _fetch(services, key, size, folder / "source", stopped)


def _on_disk(services: Services, key: str) -> Path | None:
    """A store on a disk gives `file://` addresses."""
    try:
        address = urlsplit(services.store.presign(key, ttl_s=60))
    except ObjectMissing:
        raise _gone() from None
    if address.scheme != "file":
        return None
    path = Path(unquote(address.path))
    if not path.is_file():
        raise _gone()
    return path


def _fetch(services: Services, key: str, size: int, path: Path, stopped: Callable[[], bool]) -> Path:
    try:
        with path.open("wb") as file:
            for piece in services.store.chunks(key, size=_PIECE):
                if stopped():
                    raise TaskStopped
                file.write(piece)
    except ObjectMissing:
        raise _gone() from None
    if (fetched := path.stat().st_size) != size:
        detail = f"The storage gave {fetched} of {size} bytes. It is tried again."
        raise TaskFailed("source_incomplete", "The source did not arrive whole", detail, retryable=True)
    return path


@contextmanager
def _folder(scratch: Path) -> Iterator[Path]:
    scratch.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(scratch)
    name = ids.new("scr")
    unlocked, folder = scratch / f"new-{name}", scratch / name
    unlocked.mkdir(mode=0o700)
    handle = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield unlocked.rename(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _remove_abandoned(scratch: Path) -> None:
    """The kernel drops a dead process's locks. Folders get their final name locked, so none is taken at birth."""
    for folder in scratch.glob("scr_*"):
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)


def _check_room(services: Services, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free - size < services.config.ingest.min_free_bytes:
        detail = (
            f"The source has {size >> 20} MiB, the worker's disk {free >> 20} MiB left. Make room; it is tried again."
        )
        raise TaskFailed("scratch_full", "No room on the worker", detail, retryable=True)


def _gone() -> TaskFailed:
    return TaskFailed(
        "source_missing",
        "The source is gone",
        "Its file is not in the storage any more; upload it again.",
        retryable=False,
    )
