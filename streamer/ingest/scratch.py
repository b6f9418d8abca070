"""Where a worker finds the source it encodes: on storage's own disk if it has one, else in a copy that all workers of the machine share.

A film's steps come one after the other, so a copy stays for an hour after its last use, or until its room is needed. Who reads a copy holds a
shared lock on its folder, who fetches or removes it an exclusive one: the kernel drops the locks of the dead, and what a killed worker
left behind is fetched anew.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage import ObjectMissing
from streamer.jobs.errors import TaskFailed, TaskStopped
from streamer.services import Services

_PIECE = 4 << 20
_NAME = 32
_KEPT_S, _LOOK_S = 3600.0, 0.1


@contextmanager
def source(services: Services, key: str, size: int, stopped: Callable[[], bool]) -> Iterator[Path]:
    """The object's bytes as a file that must not be changed. TaskFailed when there is no room or no object."""
    if (path := _on_disk(services, key)) is not None:
        yield path
        return
    folder = _folder(services, key)
    while True:
        with _locked(folder, fcntl.LOCK_SH, stopped):
            path = folder / "source"
            if path.is_file():
                os.utime(folder)
                yield path
                os.utime(folder)
                return
        with _locked(folder, fcntl.LOCK_EX, stopped):
            if not path.is_file():
                _get(services, key, size, folder, stopped)


def forget(services: Services, key: str) -> None:
    """The film is made, or can't be: its copy goes now, unless somebody still reads it."""
    _remove(_folder(services, key))


def _folder(services: Services, key: str) -> Path:
    return services.config.scratch_dir / f"scr_{hashlib.sha256(key.encode()).hexdigest()[:_NAME]}"


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


def _get(services: Services, key: str, size: int, folder: Path, stopped: Callable[[], bool]) -> None:
    """A copy that fails leaves nothing."""
    try:
        _remove_idle(services, folder, size)
        _check_room(services, folder, size)
        _fetch(services, key, size, folder / "part", stopped)
        (folder / "part").rename(folder / "source")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _fetch(services: Services, key: str, size: int, path: Path, stopped: Callable[[], bool]) -> None:
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


@contextmanager
def _locked(folder: Path, how: int, stopped: Callable[[], bool]) -> Iterator[None]:
    """The folder, made if need be, and ours in that way."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # removed in between
        try:
            if _take(handle, how) and _is(folder, handle):
                yield
                return
        finally:
            os.close(handle)
        if stopped():
            raise TaskStopped
        time.sleep(_LOOK_S)


def _take(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(folder: Path, handle: int) -> bool:
    """Whoever removed it had it locked; the name may stand for another folder by now, or for none."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _remove_idle(services: Services, mine: Path, size: int) -> None:
    """Copies nobody has used for an hour; and the longest unused while there is no room for `size` bytes."""
    others = [folder for folder in services.config.scratch_dir.glob("*") if folder != mine]
    for used, folder in sorted((_used(folder), folder) for folder in others):
        if used < time.time() - _KEPT_S or not _has_room(services, mine, size):
            _remove(folder)


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        if _take(handle, fcntl.LOCK_EX):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _has_room(services: Services, folder: Path, size: int) -> bool:
    return shutil.disk_usage(folder).free - size >= services.config.ingest.min_free_bytes


def _check_room(services: Services, folder: Path, size: int) -> None:
    if not _has_room(services, folder, size):
        free = shutil.disk_usage(folder).free
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
