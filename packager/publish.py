"""From chunk indexes to playlists: the last step, and the only one that makes a film visible.

It reads nothing but the plan and the winners' indexes, so it gives the same playlists wherever and however often it runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import Any

from packager import captions, loudness, playlist, renditions
from packager.attempt import IMMUTABLE, PARALLEL_PUTS, index_key
from packager.facts import SourceFacts, TextFacts
from packager.index import ChunkIndex, SegmentEntry
from packager.plan import Plan
from packager.playlist import MediaRendition
from storage.base import ObjectStore

MASTER = "master.m3u8"
TEXT_TIMESCALE = 90000
MAX_TEXTS = 32  # more than any film has; a hostile one could make a million small objects


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
    whole = {name: _whole(store, prefix, name, len(spans)) for name, spans in renditions.spans(plan).items()}
    videos = [renditions.video(plan.video, rung, whole[rung.name]) for rung in plan.video.rungs] if plan.video else []
    audios = [
        renditions.audio(track, kbps, whole[track.rendition(kbps)]) for track in plan.audio for kbps in track.kbps
    ]
    target = playlist.target_duration([*videos, *audios])  # one for all (Apple 8.2)
    for rendition in (*videos, *audios):
        _put(store, f"{prefix}/{rendition.folder}/vod.m3u8", playlist.media_playlist(rendition, target))
    texts = _texts(store, prefix, plan, facts)
    for rendition in videos:
        _put(store, f"{prefix}/{rendition.folder}/iframes.m3u8", playlist.iframe_playlist(rendition, target))
    notes = [*plan.notes, *_heard(plan, whole), *_lost(plan, facts, damaged, poster)]
    package = _package(prefix, plan, facts, notes, poster, [*videos, *audios, *texts])
    store.put(
        f"{prefix}/report.json",
        json.dumps(package.report, indent=1, ensure_ascii=False).encode(),
        type="application/json",
    )
    _put(store, f"{prefix}/{MASTER}", playlist.multivariant(videos, audios, texts))
    return package


def _whole(store: ObjectStore, prefix: str, rendition: str, chunks: int) -> ChunkIndex:
    return renditions.joined(
        [ChunkIndex.from_json(store.read(index_key(prefix, rendition, chunk))) for chunk in range(chunks)]
    )


def _put(store: ObjectStore, key: str, text: str) -> None:
    store.put(key, text.encode(), type=playlist.TYPE, cache=IMMUTABLE)


def _texts(store: ObjectStore, prefix: str, plan: Plan, facts: SourceFacts) -> list[MediaRendition]:
    """Subtitles need no child and no attempt: their text is a function of the facts, so every run writes the same bytes."""
    cuts = plan.cuts
    with ThreadPoolExecutor(
        PARALLEL_PUTS, thread_name_prefix="put"
    ) as pool:  # many small objects: what costs is the wait
        return [_text(store, prefix, f"t{n}", track, cuts, plan, pool) for n, track in enumerate(_taken(facts), 1)]


def _taken(facts: SourceFacts) -> Sequence[TextFacts]:
    return facts.text[:MAX_TEXTS]


def _text(
    store: ObjectStore, prefix: str, folder: str, track: TextFacts, cuts: list[Fraction], plan: Plan, pool: Executor
) -> MediaRendition:
    def written(number: int, text: str) -> SegmentEntry:
        data, uri = text.encode(), f"{number:06d}.vtt"
        store.put(f"{prefix}/{folder}/{uri}", data, type="text/vtt", cache=IMMUTABLE)
        start, end = (round(cut * TEXT_TIMESCALE) for cut in cuts[number : number + 2])
        return SegmentEntry(uri, number, start, end - start, len(data), hashlib.sha256(data).hexdigest())

    entries = pool.map(written, count(), captions.segments(track.cues, cuts, plan.origin))
    rendition = MediaRendition(
        folder=folder, kind="text", init="", timescale=TEXT_TIMESCALE, segments=tuple(entries), codecs="", width=0, height=0, frame_rate=None,
        group="text", language=renditions.language(track.language), name=renditions.label(track.title, folder), default=False, channels=0,
    )  # fmt: skip
    _put(store, f"{prefix}/{folder}/vod.m3u8", playlist.media_playlist(rendition))
    return rendition


def _heard(plan: Plan, whole: dict[str, ChunkIndex]) -> list[str]:
    """What was done to the loudness of each track; it is the same in all its rates."""
    found = [(track.index, whole[track.rendition(track.kbps[0])].loudness) for track in plan.audio]
    return [loudness.sentence(index, known) for index, known in found if known]


def _lost(plan: Plan, facts: SourceFacts, damaged: int, poster: bool) -> list[str]:
    notes = [f"{damaged} damaged packets of the source were left out."] if damaged else []
    notes += ["No poster could be made."] if not poster and (plan.video or plan.cover is not None) else []
    if left := len(facts.text) - len(_taken(facts)):
        notes.append(f"{left} of {len(facts.text)} subtitle tracks were left out: {MAX_TEXTS} are the most.")
    return notes


def _package(
    prefix: str, plan: Plan, facts: SourceFacts, notes: list[str], poster: bool, made: list[MediaRendition]
) -> Package:
    published = tuple(_facts(rendition) for rendition in made)
    report = {
        "version": plan.version,
        "source": {
            "sha256": plan.source_sha256,
            "container": facts.container,
            "duration_s": float(facts.end - facts.start),
        },
        "duration_s": float(plan.duration),
        "decisions": notes,
        "chapters": _chapters(facts, plan),
        "renditions": [{name: getattr(r, name) for name in RenditionFacts.__slots__} for r in published],
    }
    return Package(
        version=plan.version, prefix=prefix, master=MASTER, poster="poster.jpg" if poster else None, duration_s=float(plan.duration),
        width=made[0].width or None, height=made[0].height or None, renditions=published, report=report,
    )  # fmt: skip


def _chapters(facts: SourceFacts, plan: Plan) -> list[dict[str, Any]]:
    """On the film's own clock, which starts at 0 wherever the source's did."""
    origin, end = float(plan.origin), float(plan.duration)
    moved = [(max(0.0, start - origin), min(end, last - origin), title) for start, last, title in facts.chapters]
    return [{"start_s": start, "end_s": last, "title": title} for start, last, title in moved if last > start]


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
