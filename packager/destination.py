"""Where `packager encode` puts a film: `s3://bucket/prefix`, or a folder of any name.

Keys need a prefix and allow few letters, folders have no such manners: the last name of a local path is known to the packager as a plain
word, and its store turns that word back into the folder. Unfinished files wait inside the folder, so nothing ever stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from storage import open_store
from storage.base import ObjectInfo, ObjectStore, check_key
from storage.local import LocalStore


@contextmanager
def opened(dest: str) -> Iterator[tuple[ObjectStore, str]]:
    """The store and the prefix that DEST names. ValueError or KeyRefused, before anything is made, when it can't be one."""
    url = urlsplit(dest)
    if url.scheme == "s3":
        above, _, name = url.path.strip("/").rpartition("/")
        check_key(name)
        yield open_store(urlunsplit((url.scheme, url.netloc, f"/{above}", url.query, ""))), name
    elif "://" in dest:
        raise ValueError(f"no storage for {url.scheme}:// URLs; use a folder or s3://bucket/prefix")
    else:
        with _folder(Path(dest).resolve()) as store:
            yield store, store.name


@contextmanager
def _folder(path: Path) -> Iterator[Folder]:
    store = Folder(path)
    try:
        yield store
    finally:
        with suppress(OSError):
            (path / "@tmp").rmdir()
            path.rmdir()  # stays unless nothing was put into it


class Folder(LocalStore):
    """Holds one package: each key starts with `name`, which stands for the folder itself."""

    def __init__(self, path: Path) -> None:
        self.name = check_key(re.sub(r"[^A-Za-z0-9._~-]+", "-", path.name))
        super().__init__(path)

    def path(self, key: str) -> Path:
        return self.root / self._inside(check_key(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return (replace(info, key=f"{self.name}/{info.key}") for info in super().list(self._inside(prefix)))

    def _inside(self, key: str) -> str:
        return key.removeprefix(f"{self.name}/")
