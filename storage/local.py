"""Objects as plain files under one folder, named by their keys.

`put` writes a temporary file, syncs it, gives it its name in one step (rename, or link when it must not replace) and
syncs the folder: a reader sees the old bytes or the new ones, and a crash leaves at worst a temporary file. Those live
in `@tmp`, a name no key can have, on the same filesystem. Two flushes per object: about 1 ms on an SSD, 20 on a disk.
A disk keeps no headers, so the type comes from the suffix and the cache hint is forgotten.
"""

import errno
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from storage.base import (
    KeyRefused,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    check_encoding,
    check_key,
    check_prefix,
    check_range,
    encoding_of,
)
from storage.disk import disk_errors, make_folder, sync_folder
from storage.mimes import media_type

_COPY_SIZE = 1 << 20
_STALE_S = 24 * 3600
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)  # another disk, or one that knows no links
# A folder can be pruned by a delete between our mkdir and our rename; each try needs another such delete to fail.
_NAMING_TRIES = 5


class LocalStore:
    """An ObjectStore in a folder. Any number of processes on the machine may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._tmp = self.root / "@tmp"
        with disk_errors(f"storage folder {self.root}"):
            make_folder(self._tmp)
            _remove_stale(self._tmp)

    def put(
        self,
        key: str,
        data: bytes | Path | BinaryIO,
        *,
        type: str,
        cache: str | None = None,
        encoding: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        check_encoding(check_key(key), encoding)
        with disk_errors(key):
            if if_absent and self.path(key).is_file():
                raise ObjectExists(key)
            tmp = self._write(data)
            try:
                self._name(tmp, key, if_absent)
            finally:
                tmp.unlink(missing_ok=True)
        return self.head(key)

    def head(self, key: str) -> ObjectInfo:
        with disk_errors(key):
            try:
                info = _info(key, self.path(key))
            except (FileNotFoundError, NotADirectoryError):
                info = None
        if info is None:
            raise ObjectMissing(key)
        return info

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        check_range(start, length)
        with self._open(key) as file:
            file.seek(start)
            return file.read() if length is None else file.read(length)

    def chunks(self, key: str, start: int = 0, length: int | None = None, size: int = 1 << 20) -> Iterator[bytes]:
        check_range(start, length)
        with self._open(key) as file:
            file.seek(start)
            left = sys.maxsize if length is None else length
            while left > 0 and (piece := file.read(min(size, left))):
                left -= len(piece)
                yield piece

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = check_prefix(prefix).rpartition("/")[0]
        return _walk(self.root / folder, folder + "/" if folder else "", prefix)

    def copy(self, source: str, key: str) -> ObjectInfo:
        kept = self.head(source)
        return self.put(key, self.path(source), type=kept.type, encoding=kept.encoding)

    def delete(self, key: str) -> None:
        path = self.path(key)
        with disk_errors(key), suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path.unlink()
            sync_folder(path.parent)
            self._prune(path.parent)

    def presign(self, key: str, *, ttl_s: int) -> str:
        """A `file://` URL: whoever can open it may read it anyway, so it does not expire."""
        return self.path(key).as_uri()

    def path(self, key: str) -> Path:
        """Where the object's bytes are, for readers that can do better than a copy (pread, sendfile)."""
        return self.root / check_key(key)

    def adopt(self, file: Path, key: str) -> None:
        """Make an object of a file without copying a byte: both are names of it from now on, so it must not be written to again.

        The file has been synced. A file on another disk is copied.
        """
        tmp = self._tmp / uuid.uuid4().hex
        with disk_errors(key):
            make_folder(self._tmp)
            try:
                os.link(file, tmp)
                self._name(tmp, check_key(key), if_absent=False)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                self.put(key, file, type="")
            finally:
                tmp.unlink(missing_ok=True)

    @contextmanager
    def _open(self, key: str) -> Iterator[FileIO]:
        """The file, held open so that a later put or delete of the key does not change what is read."""
        with disk_errors(key):
            try:
                file = self.path(key).open("rb", buffering=0)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise ObjectMissing(key) from None
            with file:
                yield file

    def _write(self, data: bytes | Path | BinaryIO) -> Path:
        make_folder(self._tmp)
        tmp = self._tmp / uuid.uuid4().hex
        try:
            with tmp.open("xb") as file:
                _pour(data, file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            tmp.unlink(missing_ok=True)
            raise
        return tmp

    def _name(self, tmp: Path, key: str, if_absent: bool) -> None:
        """Give the finished file its key. `link` fails when the name is taken, which makes if_absent atomic."""
        path = self.path(key)
        for tries_left in reversed(range(_NAMING_TRIES)):
            try:
                make_folder(path.parent)
                os.link(tmp, path) if if_absent else os.replace(tmp, path)
                sync_folder(path.parent)
                return
            except FileNotFoundError:
                if not tries_left:
                    raise
            except (NotADirectoryError, IsADirectoryError) as error:
                raise KeyRefused(f"{key} and another key would be a file and its folder") from error
            except FileExistsError as error:
                raise self._taken(key, path) from error

    def _taken(self, key: str, path: Path) -> ObjectExists | KeyRefused:
        if path.is_file():
            return ObjectExists(key)
        return KeyRefused(f"{key} and another key would be a file and its folder")

    def _prune(self, folder: Path) -> None:
        """Remove folders that a delete emptied, up to the root; the first that is not empty ends it."""
        with suppress(OSError):
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent


def _pour(data: bytes | Path | BinaryIO, file: BinaryIO) -> None:
    if isinstance(data, bytes):
        file.write(data)
    elif isinstance(data, Path):
        with data.open("rb") as source:
            shutil.copyfileobj(source, file, _COPY_SIZE)
    else:
        shutil.copyfileobj(data, file, _COPY_SIZE)


def _info(key: str, path: Path) -> ObjectInfo | None:
    """Facts of a file, None for a folder. Each put makes a new inode, so inode and time tell versions apart."""
    stat = path.stat()
    if not path.is_file():
        return None
    etag = f"{stat.st_mtime_ns:x}-{stat.st_ino:x}-{stat.st_size:x}"
    modified = datetime.fromtimestamp(stat.st_mtime, UTC)
    return ObjectInfo(key, stat.st_size, etag, media_type(key), modified, None, encoding_of(key))


def _walk(folder: Path, base: str, prefix: str) -> Iterator[ObjectInfo]:
    """Files below `folder` in the order of their keys: a folder sorts as its name with the slash, as in S3."""
    with disk_errors(prefix):
        try:
            entries = [entry.name + "/" * entry.is_dir() for entry in folder.iterdir() if entry.name != "@tmp"]
        except (FileNotFoundError, NotADirectoryError):
            return
    for name in sorted(entries):
        key = base + name
        if name.endswith("/") and (key.startswith(prefix) or prefix.startswith(key)):
            yield from _walk(folder / name, key, prefix)
        elif key.startswith(prefix):
            with suppress(FileNotFoundError):  # deleted since the folder was read
                if info := _info(key, folder / name):
                    yield info


def _remove_stale(tmp: Path) -> None:
    """Drop what killed processes left; a day is longer than any put."""
    for path in tmp.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _STALE_S:
                path.unlink()
