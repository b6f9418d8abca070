"""What a source is: typed facts that the probe finds and every later decision reads. No FFmpeg here."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from packager.h264 import SpsFacts


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
class H264Facts:
    """What an H.264 track's packets prove without being decoded.

    `sps` is the header's first of `sets` sequence parameter sets; `varies`: key packets carry others. `whole`: every packet has a time of its own
    and is shown. `idr` are the times of IDR frames that no other frame is shown across, `sizes` the bytes from each to the next. A frame is
    decoded at most `reorder` frames before its turn to be shown.
    """

    sps: SpsFacts | None
    sets: int
    varies: bool
    whole: bool
    idr: tuple[int, ...]
    sizes: tuple[int, ...]
    reorder: int


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """One video track. `pts` (sorted, shown frames only) and `key_pts` count `time_base`; `rotation` is clockwise degrees to apply.

    `peak_nits` is the brightest light of an HDR picture in cd/m2 as its metadata say, 0 when they don't. `h264` is None for other codecs.
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
    h264: H264Facts | None = None

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
