"""Uploads as files that grow on a local disk.

What is answered is durable: the file is synced before an offset is returned and the folder before `create` returns.
Bytes are handed to the disk in 1 MiB batches, because one write and one wake-up per network packet costs more than the
copy. One writer at a time per upload: a second append meets OffsetMismatch or waits on the file's lock.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.base import KeyRefused, ObjectExists, ObjectMissing, OffsetMismatch, check_key
from storage.disk import disk_errors, make_folder, sync_folder

_BATCH = 1 << 20


class LocalUploads:
    """An UploadStore in one folder, a file per upload."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        with disk_errors(f"upload folder {self.root}"):
            make_folder(self.root)

    def create(self, id: str) -> None:
        with disk_errors(id):
            try:
                self._path(id).open("xb").close()
            except FileExistsError:
                raise ObjectExists(id) from None
            sync_folder(self.root)

    def append(self, id: str, offset: int, chunks: Iterable[bytes]) -> int:
        with self._open(id) as handle:
            size = os.fstat(handle).st_size
            if offset != size:
                raise OffsetMismatch(f"{id} ends at byte {size}, not {offset}", size)
            try:
                _write_all(handle, chunks)
            finally:
                os.fdatasync(handle)
            return os.fstat(handle).st_size

    def size(self, id: str) -> int:
        try:
            return self._path(id).stat().st_size
        except FileNotFoundError:
            raise ObjectMissing(id) from None

    def ids(self) -> Iterator[str]:
        with disk_errors(f"upload folder {self.root}"):
            yield from sorted(os.listdir(self.root))

    def finish(self, id: str) -> Path:
        self.size(id)
        return self._path(id)

    def abort(self, id: str) -> None:
        with disk_errors(id), suppress(FileNotFoundError):
            self._path(id).unlink()
            sync_folder(self.root)

    def _path(self, id: str) -> Path:
        if "/" in check_key(id):
            raise KeyRefused(f"not an upload id: {id[:80]!r}")
        return self.root / id

    @contextmanager
    def _open(self, id: str) -> Iterator[int]:
        """A locked handle at the end of the file. The kernel drops the lock with the process, so it is never left behind."""
        with disk_errors(id):
            try:
                handle = os.open(self._path(id), os.O_WRONLY | os.O_APPEND)
            except FileNotFoundError:
                raise ObjectMissing(id) from None
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield handle
            finally:
                os.close(handle)


def _write_all(handle: int, chunks: Iterable[bytes]) -> None:
    batch = bytearray()
    try:
        for chunk in chunks:
            batch += chunk
            if len(batch) >= _BATCH:
                _flush(handle, batch)
    finally:
        _flush(handle, batch)


def _flush(handle: int, batch: bytearray) -> None:
    """Write all of the batch, dropping what was written: a full disk may take a part, and that part counts."""
    while batch:
        written = os.write(handle, batch)
        del batch[:written]
