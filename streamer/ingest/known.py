"""Files that something was done with, remembered by path, size, time of change and inode, so that a restart need not read them again.

A note and no truth: lost, it costs reading. One SQLite file, so that any number of processes may use it.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from streamer.errors import Unavailable

_WAIT_S = 10.0
_TABLE = """CREATE TABLE IF NOT EXISTS files (
    place TEXT, path BLOB, size INTEGER, mtime_ns INTEGER, inode INTEGER, said TEXT, PRIMARY KEY (place, path))"""


class KnownFiles:
    """`place` is what the files are known to: a server, a user. Unavailable when the file can't be used."""

    def __init__(self, file: Path, place: str) -> None:
        self._file, self._place = file, place
        with self._open() as db:
            db.execute(_TABLE)

    def get(self, path: Path, found: os.stat_result) -> str | None:
        """What was said of the file, if it is the very one that was meant."""
        same = "place = ? AND path = ? AND size = ? AND mtime_ns = ? AND inode = ?"
        with self._open() as db:
            row = db.execute(f"SELECT said FROM files WHERE {same}", (*self._key(path), *_facts(found))).fetchone()
        return row[0] if row else None

    def put(self, path: Path, found: os.stat_result, said: str) -> None:
        """In place of what was said of another file at this path."""
        row = *self._key(path), *_facts(found), said
        with self._open() as db:
            db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", row)

    def forget(self, path: Path) -> None:
        """Fine when nothing is known of it."""
        with self._open() as db:
            db.execute("DELETE FROM files WHERE place = ? AND path = ?", self._key(path))

    def _key(self, path: Path) -> tuple[str, bytes]:
        return self._place, os.fsencode(path.absolute())

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=_WAIT_S)) as db, db:
                yield db
        except (sqlite3.Error, OSError) as error:
            detail = f"{self._file}, where files are remembered, can't be used: {error}. Make its folder writable, or remove it."
            raise Unavailable(detail) from error


def _facts(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino
