"""The plan: everything that encoding depends on, decided once and stored beside the result.

Encoding a chunk is a function of (source, plan, chunk, rung), so it can be retried, resumed, or run elsewhere. The version of a package is a
hash of the plan, which holds the hash of the source: the same film and the same decisions give the same address.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from packager import ladder, loudness, passthrough, records, timeline
from packager.facts import AudioFacts, Colour, SourceFacts, VideoFacts
from packager.ladder import Rung, Step
from packager.passthrough import Passed
from packager.timeline import Chunk, Grid

FORMAT = 3  # raise it when the same plan would give other bytes
AAC_FRAME, AUDIO_RATE = 1024, 48000
BT709 = Colour(1, 1, 1, False)
LONGEST_TRIM_S = Fraction(1, 20)  # of sound before the first frame: mostly an encoder's priming


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may choose. `max_short_side` in pixels; `segments_per_chunk` segments of 6 s are the unit that is never repeated.

    `ladder` takes the place of the reference ladder. `passthrough`: the source's own packets may be the top rendition. `loudness` in LUFS is what
    each audio track is brought near (see loudness.py); None leaves it as it is.
    """

    max_short_side: int = 1080
    segments_per_chunk: int = 5
    audio_kbps: tuple[int, ...] = (128, 48)
    ladder: tuple[Step, ...] = ()
    passthrough: bool = True
    loudness: float | None = loudness.TARGET


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """How the picture is made: `width` x `height` before rotation, on the grid, in `colour`, for each rung, chunk by chunk.

    A rung that is passed through comes first; `width` and `height` are then the largest that is encoded.
    """

    index: int
    origin: Fraction
    width: int
    height: int
    rotation: int
    deinterlace: bool
    source_colour: Colour
    peak_nits: float
    colour: Colour
    grid: Grid
    rungs: tuple[Rung, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """One track, encoded whole: `frames` AAC frames of 1024 samples at 48 kHz stereo; `cuts` are the frames that start a segment.

    `heard` is where the film has this sound, in seconds on the source's clock; `loudness` the target in LUFS.
    """

    name: str
    index: int
    origin: Fraction
    language: str
    title: str
    default: bool
    frames: int
    cuts: tuple[int, ...]
    kbps: tuple[int, ...]
    heard: tuple[Fraction, Fraction]
    loudness: float | None

    def rendition(self, kbps: int) -> str:
        return f"{self.name}-{kbps}k"


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole decision. `duration` in seconds; `notes` says in plain words what was decided about this film."""

    format: int
    source_sha256: str
    duration: Fraction
    origin: Fraction
    video: VideoPlan | None
    audio: tuple[AudioPlan, ...]
    cover: int | None
    notes: tuple[str, ...]

    @property
    def cuts(self) -> list[Fraction]:
        """Where segments start, in seconds from the film's start, and its end."""
        if self.video:
            return [
                Fraction(self.video.grid.time(slot), self.video.grid.timescale) for slot in self.video.grid.segments
            ] + [self.duration]
        return [Fraction(cut * AAC_FRAME, AUDIO_RATE) for cut in self.audio[0].cuts] + [self.duration]

    def to_json(self) -> bytes:
        return records.dump(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Plan:
        return records.load(cls, data)

    @property
    def version(self) -> str:
        """20 hex digits that name source and decisions together."""
        return hashlib.sha256(self.to_json()).hexdigest()[:20]


def make(facts: SourceFacts, source_sha256: str, options: Options) -> Plan:
    """Decide everything about a film. Pure: the same facts and options always give the same plan."""
    origin, end = _origin(facts), facts.end
    notes = list(facts.notes)
    video = _video(facts, origin, options, notes) if facts.video else None
    duration = Fraction(video.grid.end, video.grid.timescale) if video else end - origin
    audio = _audio(facts.audio, video, origin, duration, options, notes)
    return Plan(FORMAT, source_sha256, duration, origin, video, audio, facts.cover, tuple(notes))


def _origin(facts: SourceFacts) -> Fraction:
    """The film starts with its earliest track, but on a frame of the picture if that costs no more than LONGEST_TRIM_S of sound."""
    if not facts.video:
        return facts.start
    late = facts.video.start - facts.start
    if late > LONGEST_TRIM_S:
        late = _phase(facts.video, facts.start)
    return facts.start + late if late <= LONGEST_TRIM_S else facts.start


def _phase(video: VideoFacts, origin: Fraction) -> Fraction:
    """Seconds from `origin` to the first frame of the picture's own rhythm; of a variable rate to its first frame."""
    rate = timeline.constant_rate(video)
    late = video.start - origin
    return late % (1 / rate) if rate else late


def _in_rhythm(video: VideoFacts, grid: Grid, origin: Fraction) -> Fraction:
    """`origin` moved by at most half a frame, so that frames fall on slots: between two slots they would be dropped and doubled at random."""
    if not grid.frame:
        return origin
    late = _phase(video, origin) % (1 / grid.rate)
    return origin + (late if late * grid.rate <= Fraction(1, 2) else late - 1 / grid.rate)


def _video(source: SourceFacts, origin: Fraction, options: Options, notes: list[str]) -> VideoPlan:
    facts = source.video
    assert facts
    grid = timeline.grid(facts, origin, source.end)
    start, colour = _in_rhythm(facts, grid, origin), _colour(facts)
    notes += _video_notes(facts, grid, origin)
    passed = _passed(source, grid, start, colour, options, notes)
    grid = passed.grid if passed else grid
    encoded = _rungs(facts, grid, options, passed.rung if passed else None)
    rungs = (passed.rung, *encoded) if passed else encoded
    width, height = (encoded or rungs)[0].width, (encoded or rungs)[0].height
    return VideoPlan(
        index=facts.index,
        origin=start,
        width=height if facts.rotation in (90, 270) else width,
        height=width if facts.rotation in (90, 270) else height,
        rotation=facts.rotation,
        deinterlace=facts.interlaced,
        source_colour=replace(facts.colour, matrix=_matrix(facts)),
        peak_nits=_peak_nits(facts),
        colour=colour,
        grid=grid,
        rungs=rungs,
        chunks=timeline.chunks(grid, facts, start, segments_per_chunk=options.segments_per_chunk),
    )


def _passed(
    source: SourceFacts, grid: Grid, start: Fraction, colour: Colour, options: Options, notes: list[str]
) -> Passed | None:
    if not options.passthrough:
        return None
    found = passthrough.decide(source, grid, start, colour, options.max_short_side)
    notes.append(passthrough.TAKEN if isinstance(found, Passed) else passthrough.REFUSED.format(found))
    return found if isinstance(found, Passed) else None


def _rungs(facts: VideoFacts, grid: Grid, options: Options, top: Rung | None) -> tuple[Rung, ...]:
    """Half-rate rungs need key frames and the end on even slots; a variable grid, or one that follows the source's IDR frames, may not have them."""
    even = grid.frame and not any(slot % 2 for slot in (*grid.keys, grid.count))
    return ladder.rungs(
        *facts.display_size,
        grid.rate if even else min(grid.rate, ladder.HALF_RATE_ABOVE),
        max_short=options.max_short_side,
        steps=options.ladder,
        top=top,
    )


def _matrix(facts: VideoFacts) -> int:
    """Untagged pictures follow the convention players use: BT.709 from 720 lines on, BT.601 below. 0 is RGB."""
    if facts.colour.matrix in (0, 1, 5, 6, 7, 9):
        return facts.colour.matrix
    return 1 if min(facts.width, facts.height) >= ladder.HD else 6


def _peak_nits(facts: VideoFacts) -> float:
    """What tone mapping counts as the brightest light: as the file says, within reason; 1000 is what most HDR is graded for."""
    if facts.colour.dynamic_range == "sdr":
        return 0.0
    return min(max(facts.peak_nits, 200.0), 10000.0) if facts.peak_nits else 1000.0


def _colour(facts: VideoFacts) -> Colour:
    """One SDR colour space for every rung: the source's own if it is a standard one, else BT.709; always limited range."""
    matrix = _matrix(facts)
    if facts.colour.dynamic_range != "sdr" or matrix not in (1, 5, 6) or facts.colour.primaries not in (1, 2, 5, 6):
        return BT709
    primaries = facts.colour.primaries if facts.colour.primaries != 2 else {1: 1, 5: 5, 6: 6}[matrix]
    return Colour(primaries, facts.colour.transfer if facts.colour.transfer in (1, 6) else 1, matrix, False)


def _video_notes(facts: VideoFacts, grid: Grid, origin: Fraction) -> list[str]:
    notes = []
    if facts.rotation:
        notes.append(f"The picture was turned {facts.rotation} degrees clockwise, as the file asks.")
    if facts.interlaced:
        notes.append(f"The picture was interlaced; it was deinterlaced to {float(grid.rate):.2f} frames a second.")
    if facts.sample_aspect != 1:
        notes.append(
            f"Pixels were not square ({facts.sample_aspect}); the picture was scaled to {facts.display_size[0]}x{facts.display_size[1]}."
        )
    if facts.colour.dynamic_range != "sdr":
        notes.append(f"The picture was HDR ({facts.colour.dynamic_range.upper()}); it was tone-mapped to SDR.")
    if not grid.frame:
        notes.append("The frame rate varies; every frame keeps its own time.")
    if facts.start > origin:
        notes.append(
            f"The picture starts {float(facts.start - origin):.3f} s after the sound; its first frame is held."
        )
    return notes


def _audio(
    tracks: tuple[AudioFacts, ...],
    video: VideoPlan | None,
    origin: Fraction,
    duration: Fraction,
    options: Options,
    notes: list[str],
) -> tuple[AudioPlan, ...]:
    frames = max(1, round(duration * AUDIO_RATE / AAC_FRAME))
    cuts = tuple(cut for cut in _cuts(video, duration) if cut < frames)
    default = next((t.index for t in tracks if t.default), tracks[0].index if tracks else -1)
    for track in tracks:
        if track.channels > 2:
            notes.append(f"Audio track {track.index} has {track.channels} channels; it was mixed down to stereo.")
    return tuple(
        AudioPlan(
            f"a{n}", t.index, origin, t.language, t.title, t.index == default, frames, cuts, options.audio_kbps,
            _heard(t, origin, origin + duration), options.loudness,
        )
        for n, t in enumerate(tracks, 1)
    )  # fmt: skip


def _heard(track: AudioFacts, start: Fraction, end: Fraction) -> tuple[Fraction, Fraction]:
    first = min(max(track.start, start), end)
    return first, max(first, min(track.end, end))


def _cuts(video: VideoPlan | None, duration: Fraction) -> list[int]:
    """Audio segments start at the AAC frame nearest to the picture's cut; without a picture every 6 s, a short tail joining the last."""
    if video:
        starts = [Fraction(video.grid.time(slot), video.grid.timescale) for slot in video.grid.segments]
    else:
        starts = [Fraction(s) for s in range(0, max(1, ceil(duration)), timeline.SEGMENT_S)]
        if len(starts) > 1 and duration - starts[-2] < timeline.LONGEST_SEGMENT_S:
            starts.pop()
    return [round(start * AUDIO_RATE / AAC_FRAME) for start in starts]
