"""Publication before the end: what exists so far as playlists that only grow (see docs on stages).

`start` is one rendition, encoded or passed through ahead of the rest; `grow` is all of them, as far as the last one is. Their media playlists
are EVENT playlists over the same segments that the final ones name; they are written before anybody hears of the stage and never name an
object that isn't there, because they come from chunk indexes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from packager import playlist, renditions
from packager.index import ChunkIndex
from packager.plan import Plan
from packager.playlist import MediaRendition
from storage.base import ObjectStore

LIVE = "public, max-age=1"
AHEAD = 1.1  # seconds of film per second: slower than this a growing stage would be caught up by its viewer


@dataclass(frozen=True, slots=True)
class Published:
    """A stage is there, or there is more of it: `seconds` of `duration_s` can be watched. `stage` is start, grow or final."""

    stage: str
    version: str
    prefix: str
    seconds: float
    duration_s: float
    width: int | None
    height: int | None
    poster: bool


class Stages:
    """Collects finished chunks from any thread and writes the stages as far as they go."""

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        plan: Plan,
        published: Callable[[Published], None],
        speed: Callable[[], float],
    ) -> None:
        self._store, self._prefix, self._plan, self._published, self._speed = store, prefix, plan, published, speed
        self._lock = threading.Lock()
        self._chunks: dict[str, dict[int, ChunkIndex]] = {}
        self._spans = renditions.spans(plan)
        self._stages = [_Stage(name, members) for name, members in _members(plan).items() if members]
        self.poster = False

    def add(self, *indexes: ChunkIndex) -> None:
        """Chunks are finished: move every stage that can move."""
        with self._lock:
            for index in indexes:
                self._chunks.setdefault(index.rendition, {})[index.chunk] = index
            for stage in self._stages:
                if any(index.rendition in stage.members for index in indexes):
                    self._advance(stage)

    def awaited(self) -> set[tuple[str, int]]:
        """For each rendition the chunk, by its number, that it needs next to grow."""
        with self._lock:
            extents = {name: self._extent(name) for name in {name for stage in self._stages for name in stage.members}}
            return {(name, extent) for name, extent in extents.items() if extent < len(self._spans[name])}

    def _advance(self, stage: _Stage) -> None:
        extents = {name: self._extent(name) for name in stage.members}
        ended = all(extents[name] == len(self._spans[name]) for name in stage.members)
        chunks = max(extents.values()) if ended else min(extents.values())
        if chunks <= stage.chunks and ended == stage.ended:
            return
        made = self._write(stage, chunks, ended)
        stage.chunks, stage.ended = chunks, ended
        stage.seconds = float(min(_length(rendition) for rendition in made))
        if stage.name == "start" or ended or self._speed() >= AHEAD:
            self._published(self._announcement(stage, made))

    def _extent(self, rendition: str) -> int:
        """Chunks from the first on without a gap."""
        have = self._chunks.get(rendition, {})
        return next((number for number in range(len(self._spans[rendition])) if number not in have), len(have))

    def _write(self, stage: _Stage, chunks: int, ended: bool) -> list[MediaRendition]:
        """Media playlists first: nobody may read an entry whose playlists aren't there."""
        made = [self._rendition(stage, name, chunks) for name in stage.members]
        for rendition in made:
            text = playlist.event_playlist(rendition, ended=ended)
            self._put(rendition.uri, text)
        if not stage.chunks:
            videos = [rendition for rendition in made if rendition.kind == "video"]
            audios = [rendition for rendition in made if rendition.kind == "audio"]
            self._put(f"{stage.name}.m3u8", playlist.multivariant(videos, audios))
        return made

    def _put(self, name: str, text: str) -> None:
        self._store.put(f"{self._prefix}/{name}", text.encode(), type=playlist.TYPE, cache=LIVE)

    def _rendition(self, stage: _Stage, name: str, chunks: int) -> MediaRendition:
        have = self._chunks[name]
        index = renditions.joined([have[number] for number in range(min(chunks, len(self._spans[name])))])
        if self._plan.video:
            for rung in self._plan.video.rungs:
                if rung.name == name:
                    return renditions.video(self._plan.video, rung, index, stage.name)
        track, kbps = next((t, kbps) for t in self._plan.audio for kbps in t.kbps if t.rendition(kbps) == name)
        return renditions.audio(track, kbps, index, stage.name)

    def _announcement(self, stage: _Stage, made: Sequence[MediaRendition]) -> Published:
        plan, shown = self._plan, max(made, key=lambda rendition: rendition.height)
        return Published(
            stage.name, plan.version, self._prefix, stage.seconds, float(plan.duration), shown.width or None,
            shown.height or None, self.poster,
        )  # fmt: skip


@dataclass(slots=True)
class _Stage:
    name: str
    members: Sequence[str]
    chunks: int = 0
    seconds: float = 0.0
    ended: bool = False


def _members(plan: Plan) -> Mapping[str, list[str]]:
    """Start is one rung with the default track at its best rate; grow is everything. Sound alone needs only grow."""
    sound = [track.rendition(kbps) for track in plan.audio for kbps in track.kbps]
    if not plan.video:
        return {"grow": sound}
    first = next((track for track in plan.audio if track.default), None)
    start = [renditions.start(plan.video).name, *([first.rendition(max(first.kbps))] if first else [])]
    return {"start": start, "grow": [*(rung.name for rung in plan.video.rungs), *sound]}


def _length(rendition: MediaRendition) -> float:
    last = rendition.segments[-1]
    return (last.start + last.duration) / rendition.timescale
