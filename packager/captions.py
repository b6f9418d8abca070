"""Subtitles as segmented WebVTT: pure text from cues. Nothing of the uploaded file's own markup survives.

Every segment maps its local zero to media time zero (X-TIMESTAMP-MAP, RFC 8216 3.5), and a cue stands in each segment it touches, so a viewer
who seeks into the middle of a line sees it. That repeats text, so a cue's length and a segment's text are bounded: a small file full of endless
cues would otherwise grow without end.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction

HEADER = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"
LONGEST_CUE_MS = 600_000
SEGMENT_TEXT = 20_000  # characters: six seconds of reading are about 100
OVERRIDE = re.compile(r"\{\\[^{}]*\}")  # ASS puts {\an8} and the like into its text, and SubRip files copied the habit
Cue = tuple[float, float, str]
Timed = tuple[int, int, str]


def segments(cues: Sequence[Cue], cuts: Sequence[Fraction], origin: Fraction) -> list[str]:
    """WebVTT text for each stretch between two of `cuts` (seconds from the film's start, its end last)."""
    bounds = [cut * 1000 for cut in cuts]
    places: list[list[Timed]] = [[] for _ in bounds[1:]]
    room = [SEGMENT_TEXT] * len(places)
    for cue in sorted(_timed(cues, origin)):
        for place in range(max(0, bisect_right(bounds, cue[0]) - 1), min(len(places), bisect_left(bounds, cue[1]))):
            if room[place] >= len(cue[2]):
                room[place] -= len(cue[2])
                places[place].append(cue)
    return [_segment(place) for place in places]


def _timed(cues: Sequence[Cue], origin: Fraction) -> Iterator[Timed]:
    """Cues that can be seen, in whole milliseconds of the film."""
    for start, end, text in cues:
        first, last, shown = _ms(start - float(origin)), _ms(end - float(origin)), plain(text)
        first = max(0, first)
        if last > first and shown:
            yield first, min(last, first + LONGEST_CUE_MS), shown


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _segment(cues: Sequence[Timed]) -> str:
    return HEADER + "".join(f"\n{_stamp(start)} --> {_stamp(end)}\n{text}\n" for start, end, text in cues)


def _stamp(milliseconds: int) -> str:
    hours, minutes, seconds = milliseconds // 3_600_000, milliseconds // 60_000 % 60, milliseconds // 1000 % 60
    return f"{hours:02}:{minutes:02}:{seconds:02}.{milliseconds % 1000:03}"


def plain(text: str) -> str:
    """Cue text that can't leave its cue or become markup: escaped, no blank lines (they end a cue), no control characters."""
    broken = OVERRIDE.sub("", text).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", "\N{NO-BREAK SPACE}")
    lines = ("".join(filter(_visible, line)).strip() for line in broken.splitlines())
    escaped = (line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in lines)
    return "\n".join(line for line in escaped if line)


def _visible(letter: str) -> bool:
    """Not a control, surrogate, private or unassigned character; joiners and direction marks (Cf) belong to the text."""
    return unicodedata.category(letter) not in ("Cc", "Cs", "Co", "Cn")
