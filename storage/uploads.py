"""Uploads as files that grow on a local disk.

What is answered is durable: the file is synced before an offset is returned and the folder before `create` returns.
Bytes are handed to the disk in batches of 1 MiB, because one write per network packet costs more than the copy, and the disk is told to begin
with them every 8 MiB, because otherwise all of a film would wait for the sync at the end. One writer at a time per upload, in all processes of the machine: the kernel locks the file and drops the lock
with the process, so it is never left behind.

An append that must stay whole or leave nothing first puts a mark beside the file, a symbolic link that points to the old size in
digits: making one is a single step, so there is no half-written mark. Whoever takes the file next cuts it back to its mark.

A whole upload becomes an object of a store on the same disk by a second name for its file: no byte is read or written again.

A client that comes back would wait for its own dead connection, so whoever finds the file locked leaves another mark, which the writer
looks for. Whoever gets the lock removes it: a mark is always meant for the writer of the moment, and one that a killed process left
harms nobody.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from storage.base import (
    KeyRefused,
    ObjectExists,
    ObjectMissing,
    ObjectStore,
    OffsetMismatch,
    UploadBusy,
    check_key,
)
from storage.disk import disk_errors, make_folder, sync_folder
from storage.joined import Joined
from storage.local import LocalStore

_BATCH = 1 << 20
_BEGIN_SYNC = 8 << 20
_AT_ONCE = 512  # pieces; the kernel takes 1024
_PATIENCE_S, _LOOK_S = 2.0, 0.02
# Marks beside a file; no id has an @ in it.
_WHOLE, _HOLD, _APPEND = "@whole", "@hold", "@append"


class LocalUploads:
    """An UploadStore in one folder, a file per upload; whole ones become objects of `objects`."""

    def __init__(self, root: Path, objects: ObjectStore) -> None:
        self.root, self._objects = root.absolute(), objects
        with disk_errors(f"upload folder {self.root}"):
            make_folder(self.root)

    def create(self, id: str, key: str | None = None) -> None:
        with disk_errors(id):
            try:
                self._path(id).open("xb").close()
            except FileExistsError:
                raise ObjectExists(id) from None
            sync_folder(self.root)

    def append(self, id: str, offset: int, chunks: Iterable[bytes], *, whole: bool = False) -> int:
        with self._open(id, _APPEND) as handle:
            size = os.fstat(handle).st_size
            if offset != size:
                raise OffsetMismatch(f"{id} ends at byte {size}, not {offset}", size)
            with self._all_or_nothing(id, handle) if whole else nullcontext():
                try:
                    _write_all(handle, chunks)
                finally:
                    os.fdatasync(handle)
            return os.fstat(handle).st_size

    @contextmanager
    def hold(self, id: str) -> Iterator[int]:
        with self._open(id, _HOLD) as handle:
            size = os.fstat(handle).st_size
            os.fdatasync(handle)  # a killed process left bytes that only the kernel has
            yield size

    def size(self, id: str) -> int:
        with self.hold(id) as size:
            return size

    def asked(self, id: str, *, silent: bool) -> bool:
        if not self._path(id).exists() or self._mark(id, _HOLD).is_symlink():
            return True
        return silent and self._mark(id, _APPEND).is_symlink()

    def ids(self) -> Iterator[str]:
        with disk_errors(f"upload folder {self.root}"):
            yield from sorted(name for name in os.listdir(self.root) if "@" not in name)

    def path(self, id: str) -> Path:
        """Where its bytes are, also before it is whole; for readers on this machine."""
        path = self._path(id)
        if not path.is_file():
            raise ObjectMissing(id)
        return path

    def finish(self, ids: Sequence[str], key: str) -> str | None:
        paths = [self.path(id) for id in ids]
        if len(paths) == 1 and isinstance(self._objects, LocalStore):
            self._objects.adopt(paths[0], key)
            return None
        joined = Joined(piece for path in paths for piece in _pieces(path))
        self._objects.put(key, joined.file(), type="application/octet-stream")
        return joined.sha256()

    def abort(self, id: str) -> None:
        with disk_errors(id):
            self._path(id).unlink(missing_ok=True)
            for name in (_WHOLE, _HOLD, _APPEND):
                self._mark(id, name).unlink(missing_ok=True)
            sync_folder(self.root)

    def _path(self, id: str) -> Path:
        if "/" in check_key(id):
            raise KeyRefused(f"not an upload id: {id[:80]!r}")
        return self.root / id

    def _mark(self, id: str, name: str) -> Path:
        return self.root / f"{id}{name}"

    @contextmanager
    def _open(self, id: str, wish: str) -> Iterator[int]:
        """A locked handle at the end of the file; `wish` is the mark for whoever has it locked."""
        with disk_errors(id):
            try:
                handle = os.open(self._path(id), os.O_WRONLY | os.O_APPEND)
            except FileNotFoundError:
                raise ObjectMissing(id) from None
            try:
                self._lock(handle, id, wish)
                self._check_here(id, handle)
                self._cut_back(id, handle)
                yield handle
            finally:
                os.close(handle)

    def _check_here(self, id: str, handle: int) -> None:
        """While we waited the upload may have become an object, which has the same file, and gone from here."""
        try:
            here = os.stat(self._path(id)).st_ino
        except FileNotFoundError:
            here = 0
        if here != os.fstat(handle).st_ino:
            raise ObjectMissing(id)

    @contextmanager
    def _all_or_nothing(self, id: str, handle: int) -> Iterator[None]:
        os.symlink(str(os.fstat(handle).st_size), self._mark(id, _WHOLE))
        sync_folder(self.root)
        try:
            yield
        except BaseException:
            self._cut_back(id, handle)
            raise
        self._unmark(id)

    def _cut_back(self, id: str, handle: int) -> None:
        with suppress(FileNotFoundError):
            os.ftruncate(handle, int(os.readlink(self._mark(id, _WHOLE))))
            os.fdatasync(handle)
            self._unmark(id)

    def _unmark(self, id: str) -> None:
        self._mark(id, _WHOLE).unlink(missing_ok=True)
        sync_folder(self.root)

    def _lock(self, handle: int, id: str, wish: str) -> None:
        """Ask the writer to let go, and wait a moment until it has."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise UploadBusy(f"somebody else is writing to {id}") from None
                self._ask(id, wish)
                time.sleep(_LOOK_S)
            else:
                for name in (_HOLD, _APPEND):  # they were for the writer before; who still waits asks again
                    self._mark(id, name).unlink(missing_ok=True)
                return

    def _ask(self, id: str, wish: str) -> None:
        with suppress(OSError):  # made already; or it can't be made, and all we can do is wait
            os.symlink("asked", self._mark(id, wish))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_BATCH):
            yield piece


def _write_all(handle: int, chunks: Iterable[bytes]) -> None:
    written = begun = os.fstat(handle).st_size
    gathered: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            gathered.append(chunk)
            size += len(chunk)
            if size >= _BATCH:
                written += _flush(handle, gathered)
                size = 0
            if written - begun >= _BEGIN_SYNC:
                begun = _begin_sync(handle, begun, written)
    finally:
        _flush(handle, gathered)


def _flush(handle: int, pieces: list[bytes]) -> int:
    """Write all of the pieces without joining them, dropping what was written: a full disk may take a part, and that part counts."""
    size = sum(len(piece) for piece in pieces)
    while pieces:
        written = os.writev(handle, pieces[:_AT_ONCE])
        while pieces and written >= len(pieces[0]):
            written -= len(pieces.pop(0))
        if pieces:
            pieces[0] = pieces[0][written:]
    return size


def _begin_sync(handle: int, start: int, end: int) -> int:
    """Have the disk begin with what was written, so that the sync at the end has little left to wait for."""
    with suppress(OSError):  # only a hint
        os.posix_fadvise(handle, start, end - start, os.POSIX_FADV_DONTNEED)
    return end
