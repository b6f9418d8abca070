"""Chunk indexes: the only truth about what was encoded.

A chunk's attempt writes its segments under names nobody else uses, then creates `<rendition>/<chunk>.json` if it is absent. Whoever creates
it has won; playlists are made from these indexes alone, so two workers on one chunk can never publish a mixture.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from packager.loudness import Loudness


@dataclass(frozen=True, slots=True)
class IFrame:
    """One key frame inside a segment: bytes `[offset, offset + size)` hold its moof, the mdat header and the frame (Apple 6.10)."""

    offset: int
    size: int
    start: int


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One media segment. `start` and `duration` count the index's timescale; `uri` is relative to the rendition's folder."""

    uri: str
    number: int
    start: int
    duration: int
    size: int
    sha256: str
    iframes: tuple[IFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """What one winning attempt at one chunk of one rendition left in storage; the last chunk of sound tells its loudness."""

    rendition: str
    chunk: int
    attempt: str
    init: str
    timescale: int
    codecs: str
    segments: tuple[SegmentEntry, ...]
    loudness: Loudness | None = None

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> ChunkIndex:
        fields: dict[str, Any] = json.loads(data)
        fields["segments"] = tuple(_segment(entry) for entry in fields["segments"])
        if found := fields.get("loudness"):
            fields["loudness"] = Loudness.from_fields(found)
        return cls(**fields)


def _segment(fields: dict[str, Any]) -> SegmentEntry:
    return SegmentEntry(**{**fields, "iframes": tuple(IFrame(**frame) for frame in fields["iframes"])})
