"""What a source is: typed facts that the probe finds and every later decision reads. No FFmpeg here."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Colour:
    """ISO/IEC 23091-2 code points as the decoder reports them; 2 is "unspecified"."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool

    @property
    def dynamic_range(self) -> str:
        return {16: "pq", 18: "hlg"}.get(self.transfer, "sdr")


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """One video track. `pts` (sorted, shown frames only) and `key_pts` count `time_base`; `rotation` is clockwise degrees to apply.

    `peak_nits` is the brightest light of an HDR picture in cd/m2 as its metadata say, 0 when they don't.
    """

    index: int
    codec: str
    width: int
    height: int
    sample_aspect: Fraction
    rotation: int
    pixel_format: str
    interlaced: bool
    colour: Colour
    rate: Fraction
    time_base: Fraction
    pts: tuple[int, ...]
    key_pts: tuple[int, ...]
    last_duration: int
    peak_nits: float = 0.0

    @property
    def start(self) -> Fraction:
        return self.pts[0] * self.time_base

    @property
    def end(self) -> Fraction:
        return (self.pts[-1] + self.last_duration) * self.time_base

    @property
    def display_size(self) -> tuple[int, int]:
        """Width and height in square pixels after rotation."""
        width, height = max(1, round(self.width * self.sample_aspect)), self.height
        return (height, width) if self.rotation in (90, 270) else (width, height)


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """One decodable audio track; `start` and `end` in seconds on the container's clock."""

    index: int
    codec: str
    channels: int
    sample_rate: int
    language: str
    title: str
    default: bool
    start: Fraction
    end: Fraction


@dataclass(frozen=True, slots=True)
class TextFacts:
    """One subtitle track and its cues as (start, end, text), seconds on the container's clock."""

    index: int
    codec: str
    language: str
    title: str
    cues: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The whole source. `notes` says in plain words what was left out and why; `cover` is the attached picture's stream index."""

    container: str
    duration: float
    video: VideoFacts | None
    audio: tuple[AudioFacts, ...]
    text: tuple[TextFacts, ...]
    chapters: tuple[tuple[float, float, str], ...]
    cover: int | None
    notes: tuple[str, ...]

    @property
    def start(self) -> Fraction:
        return min(track.start for track in self._timed())

    @property
    def end(self) -> Fraction:
        return max(track.end for track in self._timed())

    def _timed(self) -> list[VideoFacts | AudioFacts]:
        return [*([self.video] if self.video else []), *self.audio]
