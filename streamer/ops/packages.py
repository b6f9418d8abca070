"""What is wrong with one published package: its playlists, its chunk indexes and the objects in storage against each other."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

import m3u8

from packager.attempt import INDEX, finished_chunks, index_key
from packager.index import ChunkIndex
from storage import ObjectStore

ENTRY = "master.m3u8"
STAGES = ("start.m3u8", "grow.m3u8")
LOOSE = ("plan.json", "report.json", "poster.jpg")
"""What a package holds beside what its playlists name."""

Indexed = tuple[str, int, str]
"""Of a segment: its chunk's index, its size, its SHA-256."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` is missing, changed, unnamed or unindexed; `index` is the key of the chunk index that has to go for the chunk to be made again."""

    kind: str
    key: str
    detail: str
    index: str | None = None


def faults(store: ObjectStore, path: str, *, hashes: bool) -> Iterator[Fault]:
    """All of the package under `path`. With `hashes` every segment is read."""
    there = {info.key: info.size for info in store.list(f"{path}/")}
    try:
        chunks = finished_chunks(store, path)
    except (ValueError, KeyError, TypeError) as error:
        yield Fault("changed", f"{path}/", f"A chunk index can't be read: {error}.")
        return
    indexed, named = _indexed(path, list(chunks.values())), dict(_named(store, path, there))
    missing = [key for key in named if key not in there]
    for key in missing:
        yield Fault("missing", key, f"{named[key]} names it, and it isn't there.", indexed.get(key, (None, 0, ""))[0])
    if any(key.endswith(".m3u8") for key in missing):
        return  # without it nobody can say what else is named
    yield from _compared(store, there, indexed, named, hashes)
    kept = {*named, *indexed, *(f"{path}/{name}" for name in (*LOOSE, ENTRY))}
    for key in there:
        if key not in kept and not INDEX.fullmatch(key.removeprefix(f"{path}/")):
            yield Fault("unnamed", key, "Nothing names it.")


def _compared(
    store: ObjectStore, there: dict[str, int], indexed: dict[str, Indexed], named: dict[str, str], hashes: bool
) -> Iterator[Fault]:
    """Segments that differ from what their index says, or that only one of index and playlists knows."""
    for key, (index, size, digest) in indexed.items():
        if key in there and (wrong := _difference(store, key, there[key], size, digest if hashes else "")):
            yield Fault("changed", key, wrong, index)
        elif key not in named:
            yield Fault("unindexed", key, "Its chunk's index has it, and no playlist names it.", index)
    for key in named:
        if key.endswith(".m4s") and key in there and key not in indexed:
            yield Fault("unindexed", key, "A playlist names it, and no chunk index has it.")


def _indexed(path: str, chunks: list[ChunkIndex]) -> dict[str, Indexed]:
    """By the segment's key."""
    return {
        f"{path}/{chunk.rendition}/{entry.uri}": (
            index_key(path, chunk.rendition, chunk.chunk),
            entry.size,
            entry.sha256,
        )
        for chunk in chunks
        for entry in chunk.segments
    }


def _named(store: ObjectStore, path: str, there: dict[str, int]) -> Iterator[tuple[str, str]]:
    """(key, the playlist that names it) of everything that can be reached from the entry playlists that there must be or are."""
    waiting = [
        (f"{path}/{name}", "The package") for name in (ENTRY, *STAGES) if name == ENTRY or f"{path}/{name}" in there
    ]
    seen: set[str] = set()
    while waiting:
        key, by = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        yield key, by
        if key.endswith(".m3u8") and key in there:
            text = store.read(key).decode(errors="replace")
            waiting += [(posixpath.join(posixpath.dirname(key), uri), key) for uri in _uris(text)]


def _uris(text: str) -> list[str]:
    found = m3u8.loads(text)
    below = [playlist.uri for playlist in (*found.playlists, *found.iframe_playlists)]
    below += [media.uri for media in found.media if media.uri]
    return [*below, *(part.uri for part in found.segments), *(part.uri for part in found.segment_map)]


def _difference(store: ObjectStore, key: str, found: int, size: int, digest: str) -> str:
    if found != size:
        return f"It has {found} bytes; its chunk's index says {size}."
    if digest and digest != sha256(store, key):
        return "Its bytes are not those that were written: the hash differs from its chunk's index."
    return ""


def sha256(store: ObjectStore, key: str) -> str:
    """Of an object, read in pieces."""
    digest = hashlib.sha256()
    for piece in store.chunks(key):
        digest.update(piece)
    return digest.hexdigest()
