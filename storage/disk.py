"""Durable file work shared by objects and uploads on a local disk.

A file is safe only when its bytes *and* the folder entry that names it were synced; both cost one disk flush.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.base import KeyRefused, StorageDown, StorageFull

_FULL = (errno.ENOSPC, errno.EDQUOT)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, each one durable before anything is put into it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Say a disk's failures in the words of the contract.

    FileNotFoundError passes, because only the caller knows what it means, and so does ConnectionError: it comes from
    the stream that is being stored, never from a disk.
    """
    try:
        yield
    except (FileNotFoundError, ConnectionError):
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise KeyRefused(f"{what} is too long a name for this disk") from error
        if error.errno in _FULL:
            raise StorageFull(f"no room on the disk for {what}") from error
        raise StorageDown(f"{what}: {error.strerror or error}") from error
