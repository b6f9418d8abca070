"""Subtitles as segmented WebVTT: pure text from cues. Nothing of the uploaded file's own markup survives.

Every segment maps its local zero to media time zero (X-TIMESTAMP-MAP, RFC 8216 3.5), and a cue stands in each segment it touches, so a viewer
who seeks into the middle of a line sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

HEADER = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"
Cue = tuple[float, float, str]


def segments(cues: Sequence[Cue], cuts: Sequence[Fraction], origin: Fraction) -> list[str]:
    """WebVTT text for each stretch between two of `cuts` (seconds from the film's start, its end last)."""
    shifted = [(max(0.0, start - float(origin)), end - float(origin), plain(text)) for start, end, text in cues]
    kept = sorted(cue for cue in shifted if cue[1] > cue[0] and cue[2])
    return [
        _segment([c for c in kept if c[0] < last and c[1] > first]) for first, last in zip(cuts, cuts[1:], strict=False)
    ]


def _segment(cues: Sequence[Cue]) -> str:
    return HEADER + "".join(f"\n{_stamp(start)} --> {_stamp(end)}\n{text}\n" for start, end, text in cues)


def _stamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 3_600_000:02}:{milliseconds // 60_000 % 60:02}:{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}"


def plain(text: str) -> str:
    """Cue text that can't leave its cue or become markup: escaped, no blank lines (they end a cue), no control characters."""
    lines = ("".join(c for c in line if c.isprintable()).strip() for line in text.replace("\\N", "\n").splitlines())
    escaped = (line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in lines)
    return "\n".join(line for line in escaped if line)
