"""Where a package is read from: a folder, an object store or a server. A reference is a key under the package's root, or a URL.

HTTP is spoken by hand over `http.client` because the checker must see what clients hide: redirects, encodings, types. Everything read is
bounded; a segment larger than `LIMIT` is refused, not loaded.
"""

from __future__ import annotations

import http.client
import posixpath
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from storage import ObjectMissing, ObjectStore, StorageError, open_store

LIMIT: Final = 512 << 20
TIMEOUT_S: Final = 30
_REDIRECTS: Final = 5
_ENTRY: Final = "master.m3u8"


class Missing(Exception):
    """The reference cannot be read; the message is the reason in words."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes as a player would use them. `headers` (names in lower case) are None where there is no server."""

    data: bytes
    headers: Mapping[str, str] | None = None
    redirects: int = 0


class Source(Protocol):
    """`entry` is the reference of the multivariant playlist."""

    entry: str

    def get(self, reference: str, span: tuple[int, int] | None = None) -> Fetched:
        """The whole resource, or `(offset, size)` of it, shorter at its end. Raises Missing."""
        ...

    def resolve(self, base: str, uri: str) -> str:
        """The reference that `uri` means inside the resource `base`."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def open_source(location: str) -> Source:
    """The source for a folder, a playlist file, `s3://bucket/prefix` or an http(s) URL. Raises Missing when it has no entry playlist."""
    scheme = urlsplit(location).scheme
    if scheme in ("http", "https"):
        return WebSource(location)
    if scheme == "s3":
        parts = urlsplit(location)
        folder, entry = _folder_and_entry(parts.path)
        return StoreSource(open_store(urlunsplit(parts._replace(path=folder))), entry or _ENTRY)
    path = Path(location)
    if path.is_file():
        return FolderSource(path.parent, path.name)
    return FolderSource(path, _entry_of(path))


def _folder_and_entry(path: str) -> tuple[str, str]:
    return posixpath.split(path) if path.endswith(".m3u8") else (path, "")


def _entry_of(folder: Path) -> str:
    """`master.m3u8`, or in other people's packages the playlist that names variants."""
    if (folder / _ENTRY).is_file():
        return _ENTRY
    for path in sorted(folder.glob("*.m3u8")):
        if b"#EXT-X-STREAM-INF" in path.read_bytes():
            return path.name
    raise Missing(f"{folder} holds no multivariant playlist")


def _inside(base: str, uri: str) -> str:
    """A relative URI as a key. One with a scheme, an absolute path or too many `..` keeps its text, which no package holds."""
    if urlsplit(uri).scheme or uri.startswith("/"):
        return uri
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(urlsplit(uri).path)))


@dataclass(slots=True)
class FolderSource:
    """Files under `root`; nothing above it is read."""

    root: Path
    entry: str

    def get(self, reference: str, span: tuple[int, int] | None = None) -> Fetched:
        path = self.root / reference
        if "://" in reference or not path.resolve().is_relative_to(self.root.resolve()):
            raise Missing("it lies outside of the package")
        offset, size = span or (0, LIMIT + 1)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return Fetched(_bounded(file.read(size)))
        except OSError as error:
            raise Missing(error.strerror or str(error)) from error

    def resolve(self, base: str, uri: str) -> str:
        return _inside(base, uri)

    def close(self) -> None:
        """Nothing stays open."""


@dataclass(slots=True)
class StoreSource:
    """Objects of a store."""

    store: ObjectStore
    entry: str

    def get(self, reference: str, span: tuple[int, int] | None = None) -> Fetched:
        offset, size = span or (0, LIMIT + 1)
        try:
            return Fetched(_bounded(self.store.read(reference, offset, size)))
        except ObjectMissing as error:
            raise Missing("no such object") from error
        except StorageError as error:
            raise Missing(str(error)) from error

    def resolve(self, base: str, uri: str) -> str:
        return _inside(base, uri)

    def close(self) -> None:
        """Nothing stays open."""


@dataclass(slots=True)
class WebSource:
    """A server, asked as a player asks: gzip accepted, connections kept, redirects followed but counted."""

    entry: str
    _connections: dict[tuple[str, str], http.client.HTTPConnection] = field(default_factory=dict)

    def resolve(self, base: str, uri: str) -> str:
        return urljoin(base, uri)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def get(self, reference: str, span: tuple[int, int] | None = None) -> Fetched:
        url, redirects = reference, 0
        while True:
            status, headers, body = self._ask(url, span)
            if status not in (301, 302, 303, 307, 308):
                break
            redirects += 1
            if redirects > _REDIRECTS or "location" not in headers:
                raise Missing(f"HTTP {status} leads nowhere")
            url = urljoin(url, headers["location"])
        if status == 416:
            return Fetched(b"", headers, redirects)
        if status not in (200, 206):
            raise Missing(f"HTTP {status}")
        data = _decoded(body, headers.get("content-encoding", ""))
        if span and status == 200:
            data = data[span[0] : sum(span)]
        return Fetched(_bounded(data), headers, redirects)

    def _ask(self, url: str, span: tuple[int, int] | None) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Missing("not an http address")
        wanted = {"Accept-Encoding": "gzip", "Origin": "https://player.example", "User-Agent": "packager-check"}
        if span:
            wanted["Range"] = f"bytes={span[0]}-{sum(span) - 1}"
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        for last in (False, True):
            connection = self._connection(parts)
            try:
                connection.request("GET", target, headers=wanted)
                answer = connection.getresponse()
                body = answer.read(LIMIT + 1)
                if len(body) > LIMIT:
                    connection.close()
                return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body
            except (OSError, http.client.HTTPException) as error:
                connection.close()  # a kept connection may have died since; a new one tells the truth
                if last:
                    raise Missing(f"{parts.netloc} does not answer: {error or type(error).__name__}") from error
        raise AssertionError("unreachable")

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        place = (parts.scheme, parts.netloc)
        if place not in self._connections:
            if parts.scheme == "https":
                context = ssl.create_default_context()
                self._connections[place] = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT_S, context=context)
            else:
                self._connections[place] = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
        return self._connections[place]


def _bounded(data: bytes) -> bytes:
    if len(data) > LIMIT:
        raise Missing(f"it is larger than {LIMIT >> 20} MiB")
    return data


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding.lower() not in ("gzip", "x-gzip"):
        return body
    reader = zlib.decompressobj(wbits=31)
    try:
        return reader.decompress(body, LIMIT + 1)
    except zlib.error as error:
        raise Missing(f"its gzip encoding is broken: {error}") from error
