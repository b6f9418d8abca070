"""A plan's renditions with the segments that chunk indexes give them: what playlists are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from packager.errors import EncodeFailed
from packager.index import ChunkIndex
from packager.ladder import Rung
from packager.plan import AudioPlan, Plan, VideoPlan
from packager.playlist import FINAL, MediaRendition

SOUND_ONLY_CHUNK = 5  # segments
QUICK = 360  # pixels


def spans(plan: Plan) -> dict[str, list[range]]:
    """For each rendition the segment numbers of its chunks. Sound follows the picture's chunks; it may end a segment earlier."""
    if plan.video:
        starts = [*(chunk.segment for chunk in plan.video.chunks), len(plan.video.grid.segments)]
    else:
        total = len(plan.audio[0].cuts)
        starts = [0, *range(1, total, SOUND_ONLY_CHUNK), total]
    picture = [range(first, last) for first, last in zip(starts, starts[1:], strict=False)]
    found = {rung.name: picture for rung in plan.video.rungs} if plan.video else {}
    for track in plan.audio:
        sound = [range(span.start, min(span.stop, len(track.cuts))) for span in picture]
        found |= {track.rendition(kbps): [span for span in sound if span] for kbps in track.kbps}
    return found


def joined(indexes: Sequence[ChunkIndex]) -> ChunkIndex:
    """Chunks from the first on as one index, checked to follow each other without a hole. Raises EncodeFailed."""
    first = indexes[0]
    for part in indexes:
        if (part.init, part.codecs, part.timescale) != (first.init, first.codecs, first.timescale):
            detail = f"{part.rendition} was made by encoders that disagree."
            raise EncodeFailed("mixed_encoders", "Parts of the film don't fit together", detail)
    segments = tuple(entry for part in indexes for entry in part.segments)
    expected = 0
    for number, entry in enumerate(segments):
        if (entry.number, entry.start) != (number, expected):
            detail = f"{first.rendition} has a hole before segment {entry.number}."
            raise EncodeFailed("hole", "A part of the film is missing", detail)
        expected += entry.duration
    return replace(first, chunk=0, segments=segments, loudness=indexes[-1].loudness)


def video(plan: VideoPlan, rung: Rung, index: ChunkIndex, stage: str = FINAL) -> MediaRendition:
    """A rung. Before all of it is there, its bandwidth is what the encoder's buffer allows over a segment."""
    ceiling = None if stage == FINAL else rung.maxrate_kbps * 1000 + rung.bufsize_kbps * 1000 // 6
    return MediaRendition(
        folder=rung.name, kind="video", init=index.init, timescale=index.timescale, segments=index.segments, codecs=index.codecs,
        width=rung.width, height=rung.height, frame_rate=plan.grid.rate / rung.step,
        group="", language=None, name=rung.name, default=False, channels=0, ceiling=ceiling, stage=stage,
    )  # fmt: skip


def audio(plan: AudioPlan, kbps: int, index: ChunkIndex, stage: str = FINAL) -> MediaRendition:
    """One track at one bit rate."""
    return MediaRendition(
        folder=plan.rendition(kbps), kind="audio", init=index.init, timescale=index.timescale, segments=index.segments, codecs=index.codecs,
        width=0, height=0, frame_rate=None, group=f"a{kbps}", language=language(plan.language), name=label(plan.title, plan.name),
        default=plan.default, channels=2, ceiling=None if stage == FINAL else kbps * 1100, stage=stage,
    )  # fmt: skip


def start(plan: VideoPlan) -> Rung:
    """The rung to publish first: the source's own picture if it is passed through, else the largest that encodes fast."""
    passed = [rung for rung in plan.rungs if rung.passthrough]
    small = [rung for rung in plan.rungs if min(rung.width, rung.height) <= QUICK]
    return (passed or small or [plan.rungs[-1]])[0]


def language(tag: str) -> str | None:
    return None if tag == "und" else tag


def label(title: str, name: str) -> str:
    return title.strip() or f"Track {name[1:]}"
