"""Rule 38 on one WebVTT segment: its header, its time map, and cues that lie where the playlist says the segment is."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from packager.check.report import Findings

_CLOCK: Final = r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_CUE: Final = re.compile(rf"^{_CLOCK}[ \t]+-->[ \t]+{_CLOCK}(?:[ \t]|$)", re.MULTILINE)
_MAP: Final = re.compile(
    rf"^X-TIMESTAMP-MAP=(?:MPEGTS:(\d+),LOCAL:{_CLOCK}|LOCAL:{_CLOCK},MPEGTS:(\d+))[ \t]*$", re.MULTILINE
)
_WRAP: Final = Fraction(1 << 33, 90000)
_SLACK: Final = Fraction(1, 10)


def check(data: bytes, where: str, start: Fraction, duration: Fraction, findings: Findings) -> None:
    """`start` and `duration` (seconds) are the segment's place by the playlist's EXTINFs."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        findings.add("webvtt", where, f"byte {error.start} is not UTF-8")
        return
    header, _, body = text.partition("\n\n")
    if not re.match(r"WEBVTT(?:[ \t\n]|$)", header):
        findings.add("webvtt", where, "it does not start with WEBVTT")
    arrows = sum(1 for line in body.split("\n") if "-->" in line)
    cues = list(_CUE.finditer(body))
    if arrows != len(cues):
        findings.add("webvtt", where, f"{arrows - len(cues)} cue timings cannot be read")
    match = _MAP.search(header)
    if match is None:
        findings.add("timestamp-map", where, "it has no X-TIMESTAMP-MAP")
        return
    _check_cues(cues, _shift(match), where, (start, start + duration), findings)


def _shift(match: re.Match[str]) -> Fraction:
    """Seconds to add to a cue's time to get media time."""
    groups = match.groups()
    ticks, local = (groups[0], groups[1:5]) if groups[0] else (groups[9], groups[5:9])
    return Fraction(int(ticks), 90000) - _seconds(local)


def _seconds(clock: tuple[str | None, ...]) -> Fraction:
    hours, minutes, seconds, milli = (int(part or 0) for part in clock)
    return 3600 * hours + 60 * minutes + seconds + Fraction(milli, 1000)


def _check_cues(
    cues: list[re.Match[str]], shift: Fraction, where: str, place: tuple[Fraction, Fraction], findings: Findings
) -> None:
    for cue in cues:
        groups = cue.groups()
        begin, end = (_seconds(groups[:4]) + shift) % _WRAP, (_seconds(groups[4:8]) + shift) % _WRAP
        if end <= begin:
            findings.add("webvtt", where, f"the cue at {float(begin):g} s ends before it begins")
        elif end < place[0] - _SLACK or begin > place[1] + _SLACK:
            message = f"the cue at {float(begin):g} s lies outside of its segment ({float(place[0]):g} to {float(place[1]):g} s)"
            findings.add("cue-place", where, message)
