"""When frames are shown and where the film is cut: pure decisions from the packet index.

The grid is a list of *slots*: moments at which one output frame starts. A decoder's frames are laid onto it (the latest frame not after the
slot is shown), so late starts, gaps and short tracks need no special case. Key frames come every round(2 * fps) slots, three to a segment,
and a chunk is a run of whole segments.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import floor

from packager.facts import VideoFacts
from packager.ladder import HALF_RATE_ABOVE, MAX_RATE

KEY_S, SEGMENT_S = 2, 6
REORDER = 2
LONGEST_SEGMENT_S = Fraction(
    32, 5
)  # round(EXTINF) must not pass TARGETDURATION 6 (RFC 8216 4.3.3.1), nor that of sound cut on AAC frames
SLOWEST = Fraction(4)  # slots a second; below it round(2 fps) strays too far from 2 s, so slower pictures are repeated
VARIABLE_TIMESCALE = 90000
# A still stretch of a variable-rate source repeats its frame this often: the longest step bounds how far decode and presentation times part.
LONGEST_HOLD = VARIABLE_TIMESCALE // 2
NEAR = (
    VARIABLE_TIMESCALE // 10
)  # a key frame may be this far from its multiple of KEY_S; farther, a frame is repeated there
NATURAL_RATES = tuple(Fraction(n, d) for n, d in (
    (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1),
    (12, 1), (25, 2), (15, 1), (15000, 1001), (10, 1), (120, 1), (120000, 1001), (100, 1),
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grid:
    """Slot times in ticks of 1/timescale from 0. `frame` > 0: slot i starts at i * frame; else `times` lists them. `end` is D."""

    timescale: int
    frame: int
    times: tuple[int, ...]
    count: int
    end: int
    keys: tuple[int, ...]
    segments: tuple[int, ...]

    def time(self, slot: int) -> int:
        """Start of a slot; slot `count` is the end of the film."""
        if slot >= self.count:
            return self.end
        return slot * self.frame if self.frame else self.times[slot]

    @property
    def rate(self) -> Fraction:
        """Frames per second; of a variable grid the mean."""
        if self.frame:
            return Fraction(self.timescale, self.frame)
        return min(MAX_RATE, Fraction(self.count * self.timescale, self.end))

    def delay(self, step: int) -> int:
        """Ticks by which a rung that takes every `step`-th slot decodes ahead of showing: x264's B pyramid reorders by two frames."""
        spread = REORDER * step
        return spread * self.frame or max(self.time(slot + spread) - self.time(slot) for slot in range(self.count))

    @property
    def tolerance(self) -> int:
        """How much later than its slot a frame may be stamped and still count as on time."""
        return self.frame // 3 if self.frame else self.timescale // 480


@dataclass(frozen=True, slots=True)
class Chunk:
    """Slots [first, last) = whole segments from `segment` on; `seek` is the source time of the key frame to start decoding at."""

    number: int
    first: int
    last: int
    segment: int
    seek: int


def grid(video: VideoFacts, origin: Fraction, end: Fraction) -> Grid:
    """The grid for a film that lasts from `origin` to `end` (seconds on the source's clock)."""
    still = len(video.pts) == 1 and end - origin > 1  # one picture under a song: a few frames a second are plenty
    rate = None if still else constant_rate(video)
    return _constant(rate, end - origin) if rate else _variable(video, origin, end)


def constant_rate(video: VideoFacts) -> Fraction | None:
    """Frames per second if every frame is where a constant rate puts it (within a tick or 2 ms), else None."""
    fields = 2 if video.interlaced else 1
    if len(video.pts) < 2:
        return natural(video.rate) * fields
    mean = Fraction(len(video.pts) - 1) / ((video.pts[-1] - video.pts[0]) * video.time_base)
    # What the container says comes first: over a few frames the mean of rounded times is no customary rate.
    fitting = (rate for rate in (natural(video.rate), natural(mean)) if _is_even(video, rate))
    rate = next(fitting, None)
    return rate * fields if rate else None


def _is_even(video: VideoFacts, rate: Fraction) -> bool:
    """In whole numbers, since a long film has millions of frames: (pts - first) * time_base against number / rate."""
    tick = video.time_base.numerator * rate.numerator
    step = rate.denominator * video.time_base.denominator
    slack = max(video.time_base, Fraction(1, 500)) * video.time_base.denominator * rate.numerator
    first, within = video.pts[0], int(slack)
    return all(-within <= (pts - first) * tick - number * step <= within for number, pts in enumerate(video.pts))


def natural(rate: Fraction) -> Fraction:
    """The customary rate within 0.05 %, else a near fraction with a small denominator."""
    nearest = min(NATURAL_RATES, key=lambda r: abs(r - rate))
    return nearest if abs(nearest - rate) <= rate / 2000 else max(Fraction(1, 1001), rate.limit_denominator(1001))


def _constant(rate: Fraction, duration: Fraction) -> Grid:
    rate = natural(rate / -(-rate // MAX_RATE))  # 120 fps becomes 60, 100 becomes 50
    rate *= -(-SLOWEST // rate)
    timescale, frame = rate.numerator, rate.denominator
    while timescale < 1000:  # tiny timescales make players round badly
        timescale, frame = timescale * 1000, frame * 1000
    count = max(1, round(duration * rate))
    step = max(1, round(KEY_S * rate))
    if rate > HALF_RATE_ABOVE:  # half-rate rungs share the key frames, and their last frame is as long as the others
        step, count = step + step % 2, count + count % 2
    keys = tuple(range(0, count, step))
    cuts = _segments(keys, lambda slot: Fraction(slot) / rate, count / rate)
    return Grid(timescale, frame, (), count, count * frame, keys, cuts)


def _variable(video: VideoFacts, origin: Fraction, end: Fraction) -> Grid:
    total = max(1, round((end - origin) * VARIABLE_TIMESCALE))
    tick, zero = video.time_base * VARIABLE_TIMESCALE, origin * VARIABLE_TIMESCALE
    shown = (round(pts * tick - zero) for pts in video.pts)
    times = _fill(_thin(t for t in shown if 0 < t < total), total)
    if len(times) > 1 and total - times[-1] < VARIABLE_TIMESCALE // 100:
        times.pop()
    keys = _keyed(times, total)
    cuts = _segments(keys, lambda slot: Fraction(times[slot], VARIABLE_TIMESCALE), Fraction(total, VARIABLE_TIMESCALE))
    return Grid(VARIABLE_TIMESCALE, 0, tuple(times), len(times), total, keys, cuts)


def _thin(times: Iterable[int]) -> list[int]:
    """Slots at 0 and at each time, but on the whole no more than 60 a second: each slot moves the time when the next is due."""
    period, slack = VARIABLE_TIMESCALE // MAX_RATE.numerator, VARIABLE_TIMESCALE // 1000
    kept, due = [0], period
    for time in times:
        if time >= due - slack:
            kept.append(time)
            due = max(due, time - slack) + period
    return kept


def _fill(times: list[int], total: int) -> list[int]:
    """Break stretches much longer than LONGEST_HOLD into repeats."""
    filled: list[int] = []
    for time, following in zip(times, [*times[1:], total], strict=True):
        filled += range(time, max(time + 1, following - LONGEST_HOLD // 2), LONGEST_HOLD)
    return filled


def _keyed(times: list[int], total: int) -> tuple[int, ...]:
    """The slot nearest to each multiple of KEY_S; where none is near, one is added to `times`: segments must not drift past their length."""
    wanted = []
    for time in range(0, total - VARIABLE_TIMESCALE // 100, KEY_S * VARIABLE_TIMESCALE) or (0,):
        after = bisect_left(times, time)
        nearest = min(times[max(0, after - 1) : after + 1], key=lambda slot: abs(slot - time))
        if abs(nearest - time) > NEAR:
            times.insert(after, time)
            nearest = time
        wanted.append(nearest)
    return tuple(bisect_left(times, time) for time in wanted)


def _segments(keys: tuple[int, ...], seconds: Callable[[int], Fraction], total: Fraction) -> tuple[int, ...]:
    """Every third key frame starts a segment, but a tail that still fits into the last one joins it."""
    starts = list(keys[:: SEGMENT_S // KEY_S])
    if len(starts) > 1 and total - seconds(starts[-2]) < LONGEST_SEGMENT_S:
        starts.pop()
    return tuple(starts)


def cut_at(grid: Grid, idr: Sequence[int], end: int) -> Grid | None:
    """A constant grid with key frames at some of the slots `idr` instead: as few as keep them at most KEY_S and a frame apart, up to slot `end`.

    The first IDR is held from the film's start on, wherever its own slot is. Segments come as near to SEGMENT_S as the key frames allow. None
    if `idr` leaves a longer gap.
    """
    keys = _sparse(idr, round(KEY_S * grid.rate) + 1, end)
    return replace(grid, keys=keys, segments=tuple(_cut(keys, grid))) if keys else None


def _sparse(idr: Sequence[int], longest: int, end: int) -> tuple[int, ...]:
    """From each kept slot on the farthest within `longest`; empty if there is none."""
    kept = [idr[0]]
    for slot, following in pairwise([*idr, end]):
        if following - slot > longest:
            return ()
        if following - kept[-1] > longest:
            kept.append(slot)
    return (0, *kept[1:])


def _cut(keys: Sequence[int], grid: Grid) -> Iterator[int]:
    """Of the key frames that keep a segment under LONGEST_SEGMENT_S the one nearest to SEGMENT_S."""
    longest, wanted, start = LONGEST_SEGMENT_S * grid.rate, SEGMENT_S * grid.rate, 0
    yield start
    while grid.count - start >= longest:
        fitting = keys[bisect_right(keys, start) : bisect_left(keys, start + longest)]
        start = min(fitting, key=lambda slot: abs(slot - start - wanted))
        yield start


def chunks(grid: Grid, video: VideoFacts, origin: Fraction, *, segments_per_chunk: int) -> tuple[Chunk, ...]:
    """Runs of whole segments, each with the source key frame its decoding starts at.

    The first is one segment, because a viewer waits for it, and none is longer than all before it: whoever watches from the start is not caught
    up with by an encoder that works at twice the speed of the film.
    """
    total = len(grid.segments)
    firsts = [0]
    while firsts[-1] < total:
        firsts.append(min(total, firsts[-1] + min(segments_per_chunk, max(1, firsts[-1]))))
    return tuple(
        _chunk(grid, video, origin, number, first, following)
        for number, (first, following) in enumerate(pairwise(firsts))
    )


def _chunk(grid: Grid, video: VideoFacts, origin: Fraction, number: int, segment: int, following: int) -> Chunk:
    first = grid.segments[segment]
    last = grid.segments[following] if following < len(grid.segments) else grid.count
    # A key frame within tolerance of the first slot is what that slot shows; the deinterlacer wants to have seen the frames before it.
    reach = -grid.tolerance if video.interlaced else grid.tolerance
    start = origin + Fraction(grid.time(first) + reach, grid.timescale)
    return Chunk(number, first, last, segment, seek_point(video, start))


def seek_point(video: VideoFacts, start: Fraction) -> int:
    """The last key frame at or before `start` seconds, in the track's time base; the first frame when there is none."""
    position = bisect_right(video.key_pts, floor(start / video.time_base)) - 1
    return video.key_pts[position] if position >= 0 else video.pts[0]
