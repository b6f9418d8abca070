"""May the source's own packets be the top rendition? A pure decision from what the probe found; remux.py does it then.

Nothing is encoded at the source's size when they may: that saves half of the work and all of the loss. The price is that every player must like
what a stranger's encoder made, so each condition below is proved, not hoped for. The picture's IDR frames then become the key frames and the
cuts of the whole film, in every rung.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from packager import bandwidth, ladder, timeline
from packager.facts import Colour, H264Facts, SourceFacts, VideoFacts
from packager.h264 import SpsFacts
from packager.ladder import Rung
from packager.timeline import Grid

TAKEN = "The top rendition is the upload's own picture, not re-encoded."
REFUSED = "The upload's own picture could not be the top rendition: {}."
NOT_PASSABLE = "not_passable"  # the code of the error when remuxing finds what the probe could not
PROFILES = (66, 77, 100)  # Baseline, Main, High: what every decoder in hardware takes
LEVEL = 52
EIGHT_BIT_420 = (1, 8, 8)
HOLD_S = 1  # the first and the last frame may be held this long where the sound starts earlier or ends later
PEAK_TO_AVERAGE = 2  # Apple 1.30
PEAK_TO_RUNG = Fraction(3, 2)
BOXES = 16, 200  # bytes that a frame and a group of pictures take in our boxes, at most


@dataclass(frozen=True, slots=True)
class Passed:
    """The source's picture as a rung, and the grid with key frames and cuts where the picture has them."""

    grid: Grid
    rung: Rung


def decide(source: SourceFacts, grid: Grid, origin: Fraction, colour: Colour, max_short: int) -> Passed | str:
    """The passed-through rung, or why there is none, as the end of a sentence.

    `grid` is the film's as it would be encoded, `origin` the source's time of its first slot, `colour` what encoded rungs have.
    """
    video = source.video
    assert video
    if not video.h264 or not video.h264.sps:
        return f"it is {video.codec} video, not H.264" if not video.h264 else "its coding parameters can't be read"
    fault = next(_faults(source.container, video, video.h264, video.h264.sps, grid, colour, max_short), None)
    return fault or _cut(video, video.h264, grid, origin)


def _faults(
    container: str, video: VideoFacts, coded: H264Facts, sps: SpsFacts, grid: Grid, colour: Colour, max_short: int
) -> Iterator[str]:
    """What is wrong with each frame, or with all together."""
    yield from _picture(video, sps, max_short)
    if video.colour.dynamic_range != "sdr":
        yield f"it is HDR ({video.colour.dynamic_range.upper()})"
    if not _same_colour(video.colour, colour):
        yield "its colours are not in a form that every player shows alike"
    if coded.sets != 1 or coded.varies:
        yield "its coding parameters change on the way"
    if not coded.whole or container == "avi":
        yield "some of its frames are hidden, damaged or carry no time of their own"
    if not grid.frame:
        yield "its frame rate varies"
    elif timeline.constant_rate(video) != grid.rate or grid.rate not in timeline.NATURAL_RATES:
        yield "its frame rate is not one that players expect"


def _picture(video: VideoFacts, sps: SpsFacts, max_short: int) -> Iterator[str]:
    if video.rotation:
        yield "it must be turned"
    if video.sample_aspect != 1 or sps.aspect[0] != sps.aspect[1]:
        yield "its pixels are not square"
    if video.interlaced or not sps.progressive:
        yield "it is interlaced"
    if (sps.chroma_format, sps.luma_bits, sps.chroma_bits) != EIGHT_BIT_420:
        yield "it is not 8-bit 4:2:0"
    if sps.profile not in PROFILES or sps.level > LEVEL:
        yield f"H.264 profile {sps.profile} level {sps.level / 10:g} is more than every player decodes"
    if (sps.width, sps.height) != (video.width, video.height):
        yield "its frames and its header disagree about its size"
    if min(sps.width, sps.height) > max_short or max(sps.width, sps.height) > ladder.LONGEST:
        yield f"it is larger than the largest rendition may be ({sps.width}x{sps.height})"


def _same_colour(source: Colour, wanted: Colour) -> bool:
    """What the file doesn't say (2), players and our encoder guess alike."""
    tags = ((source.primaries, wanted.primaries), (source.transfer, wanted.transfer), (source.matrix, wanted.matrix))
    return not source.full_range and all(have in (2, want) for have, want in tags)


def _cut(video: VideoFacts, coded: H264Facts, grid: Grid, origin: Fraction) -> Passed | str:
    """Lay the frames onto the grid and cut it at the IDR frames."""
    lead = round((video.start - origin) * grid.rate)
    count = max(grid.count, lead + len(video.pts))
    if max(lead, count - lead - len(video.pts)) > HOLD_S * grid.rate:
        return "its sound starts earlier or ends later"
    if not coded.idr or coded.idr[0] != video.pts[0]:
        return "it does not start with an IDR frame"
    idr = [bisect_left(video.pts, pts) + lead for pts in coded.idr]
    end = lead + len(video.pts)
    made = timeline.cut_at(replace(grid, count=count, end=count * grid.frame), idr, end)
    if made is not None:
        return _rated(coded, made, idr)
    if set(video.key_pts) - set(coded.idr):
        return "frames before some of its key frames are needed behind them (open groups of pictures)"
    longest = max(after - before for before, after in pairwise([*idr, end]))
    return f"its key frames are up to {float(longest / grid.rate):.1f} s apart"


def _rated(coded: H264Facts, grid: Grid, idr: Sequence[int]) -> Passed | str:
    """Peak and average of its segments, as players will see them."""
    parts = list(_segments(coded, grid, idr))
    peak, average = bandwidth.peak(parts), bandwidth.average(parts)
    assert coded.sps
    short = min(coded.sps.width, coded.sps.height)
    if peak > PEAK_TO_AVERAGE * average:
        return f"its bit rate peaks at {peak / average:.1f} times the average"
    if peak > PEAK_TO_RUNG * ladder.ceiling(short) * 1000:
        return f"its bit rate of {peak // 1000} kb/s is too much for its size"
    return Passed(grid, _rung(coded.sps, -(-peak // 1000), coded.reorder))


def _segments(coded: H264Facts, grid: Grid, idr: Sequence[int]) -> Iterator[tuple[int, Fraction]]:
    """(bytes, seconds) of each segment."""
    frame, group = BOXES
    for start, end in pairwise([*grid.segments, grid.count]):
        sizes = coded.sizes[bisect_left(idr, start) if start else 0 : bisect_left(idr, end)]
        seconds = Fraction(grid.time(end) - grid.time(start), grid.timescale)
        yield sum(sizes) + frame * (end - start) + group * len(sizes), seconds


def _rung(sps: SpsFacts, kbps: int, reorder: int) -> Rung:
    return Rung(
        name=f"v{min(sps.width, sps.height)}-{kbps}k",
        width=sps.width,
        height=sps.height,
        maxrate_kbps=kbps,
        bufsize_kbps=0,  # measured, so no buffer can add to it
        crf=0,
        preset="",
        step=1,
        passthrough=True,
        reorder=reorder,
    )
