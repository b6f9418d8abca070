"""From chunk indexes to playlists: the last step, and the only one that makes a film visible.

It reads nothing but the plan and the winners' indexes, so it gives the same playlists wherever and however often it runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from packager import playlist
from packager.attempt import index_key
from packager.errors import EncodeFailed
from packager.facts import SourceFacts
from packager.index import ChunkIndex
from packager.ladder import Rung
from packager.plan import AudioPlan, Plan, VideoPlan
from packager.playlist import MediaRendition
from storage.base import ObjectStore

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
IMMUTABLE = "public, max-age=31536000, immutable"
MASTER = "master.m3u8"


@dataclass(frozen=True, slots=True)
class RenditionFacts:
    """One published rendition: `kind` is video, audio or text; bandwidths in bit/s as measured; `size` in bytes."""

    kind: str
    name: str
    width: int | None
    height: int | None
    frame_rate: str | None
    codecs: str
    bandwidth: int
    average_bandwidth: int
    language: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Package:
    """A published version: where it is and what is in it. `report` is report.json's content."""

    version: str
    prefix: str
    master: str
    poster: str | None
    duration_s: float
    width: int | None
    height: int | None
    renditions: tuple[RenditionFacts, ...]
    report: dict[str, Any]


def publish(store: ObjectStore, prefix: str, plan: Plan, facts: SourceFacts, damaged: int, *, poster: bool) -> Package:
    """Write the playlists and `report.json`, `master.m3u8` last. Raises EncodeFailed if an index is missing or has a hole."""
    videos = [_video(store, prefix, plan.video, rung) for rung in plan.video.rungs] if plan.video else []
    audios = [_audio(store, prefix, track, kbps) for track in plan.audio for kbps in track.kbps]
    for rendition in (*videos, *audios):
        _put(store, f"{prefix}/{rendition.folder}/vod.m3u8", playlist.media_playlist(rendition))
    for rendition in videos:
        _put(store, f"{prefix}/{rendition.folder}/iframes.m3u8", playlist.iframe_playlist(rendition))
    package = _package(prefix, plan, facts, damaged, poster, videos, audios)
    store.put(
        f"{prefix}/report.json",
        json.dumps(package.report, indent=1, ensure_ascii=False).encode(),
        type="application/json",
    )
    _put(store, f"{prefix}/{MASTER}", playlist.multivariant(videos, audios, []))
    return package


def _put(store: ObjectStore, key: str, text: str) -> None:
    store.put(key, text.encode(), type=PLAYLIST_TYPE, cache=IMMUTABLE)


def _video(store: ObjectStore, prefix: str, plan: VideoPlan, rung: Rung) -> MediaRendition:
    index = _joined(store, prefix, rung.name, len(plan.chunks))
    return MediaRendition(
        folder=rung.name, kind="video", init=index.init, timescale=index.timescale, segments=index.segments, codecs=index.codecs,
        width=rung.width, height=rung.height, frame_rate=plan.grid.rate / rung.step,
        group="", language=None, name=rung.name, default=False, channels=0,
    )  # fmt: skip


def _audio(store: ObjectStore, prefix: str, plan: AudioPlan, kbps: int) -> MediaRendition:
    index = _joined(store, prefix, plan.rendition(kbps), 1)
    return MediaRendition(
        folder=plan.rendition(kbps), kind="audio", init=index.init, timescale=index.timescale, segments=index.segments, codecs=index.codecs,
        width=0, height=0, frame_rate=None,
        group=f"a{kbps}", language=plan.language if plan.language != "und" else None, name=_label(plan), default=plan.default, channels=2,
    )  # fmt: skip


def _label(plan: AudioPlan) -> str:
    """Names are unique within a group (RFC 8216 4.3.4.1), so the track's number is in those that have no title."""
    name = "".join(c for c in plan.title if c.isprintable() and c != '"').strip()
    return f"{name} ({plan.name[1:]})" if name else f"Track {plan.name[1:]}"


def _joined(store: ObjectStore, prefix: str, rendition: str, chunks: int) -> ChunkIndex:
    """All chunks of a rendition as one index with URIs checked to follow each other without a hole."""
    parts = [ChunkIndex.from_json(store.read(index_key(prefix, rendition, chunk))) for chunk in range(chunks)]
    segments = tuple(entry for part in parts for entry in part.segments)
    first = parts[0]
    if any((part.init, part.codecs, part.timescale) != (first.init, first.codecs, first.timescale) for part in parts):
        raise EncodeFailed(
            "mixed_encoders", "Parts of the film don't fit together", f"{rendition} was made by encoders that disagree."
        )
    expected = 0
    for number, entry in enumerate(segments):
        if (entry.number, entry.start) != (number, expected):
            raise EncodeFailed(
                "hole", "A part of the film is missing", f"{rendition} has a hole before segment {entry.number}."
            )
        expected += entry.duration
    return ChunkIndex(rendition, 0, first.attempt, first.init, first.timescale, first.codecs, segments)


def _package(
    prefix: str,
    plan: Plan,
    facts: SourceFacts,
    damaged: int,
    poster: bool,
    videos: list[MediaRendition],
    audios: list[MediaRendition],
) -> Package:
    renditions = tuple(_facts(rendition) for rendition in (*videos, *audios))
    notes = [*plan.notes, *([f"{damaged} damaged packets of the source were left out."] if damaged else [])]
    report = {
        "version": plan.version,
        "source": {
            "sha256": plan.source_sha256,
            "container": facts.container,
            "duration_s": float(facts.end - facts.start),
        },
        "duration_s": float(plan.duration),
        "decisions": notes,
        "chapters": [{"start_s": start, "end_s": end, "title": title} for start, end, title in facts.chapters],
        "renditions": [{name: getattr(r, name) for name in RenditionFacts.__slots__} for r in renditions],
    }
    return Package(
        version=plan.version, prefix=prefix, master=MASTER, poster="poster.jpg" if poster else None, duration_s=float(plan.duration),
        width=videos[0].width if videos else None, height=videos[0].height if videos else None, renditions=renditions, report=report,
    )  # fmt: skip


def _facts(rendition: MediaRendition) -> RenditionFacts:
    return RenditionFacts(
        kind=rendition.kind,
        name=rendition.folder,
        width=rendition.width or None,
        height=rendition.height or None,
        frame_rate=str(rendition.frame_rate) if rendition.frame_rate else None,
        codecs=rendition.codecs,
        bandwidth=playlist.peak_bandwidth(rendition),
        average_bandwidth=playlist.average_bandwidth(rendition),
        language=rendition.language,
        size=sum(entry.size for entry in rendition.segments),
    )
