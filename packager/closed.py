"""Closed captions as subtitle tracks: from what pictures carry (a53.py) to cues (eia608.py), within bounds. Pure; the probe calls it."""

from __future__ import annotations

from typing import Final

from packager import eia608
from packager.a53 import CaptionData
from packager.eia608 import Cue, Pair
from packager.facts import TextFacts, VideoFacts

CODEC: Final = "eia_608"
CHANNELS: Final = (
    ("Closed captions", 0, 0),
    ("Closed captions CC2", 0, 1),
    ("Closed captions CC3", 1, 0),
    ("Closed captions CC4", 1, 1),
)
"""Name, field and channel. The first are in the language that is spoken; what language the others are in, nothing says."""

BECAME: Final = "Closed captions became a subtitle rendition."
BECAME_SEVERAL: Final = "Closed captions became {} subtitle renditions."
LEFT_OUT: Final = "Closed captions of the newer kind alone (CEA-708) can't be read and were left out."


def captions(
    data: CaptionData, video: VideoFacts, spoken: str, room: tuple[int, int], notes: list[str]
) -> tuple[TextFacts, ...]:
    """A track for each channel that says something. `room`: how many cues and characters there may be; `spoken`: the language of the sound."""
    found: list[TextFacts] = []
    for title, field, channel in CHANNELS:
        pairs = _timed(data, field, video)
        if cues := _bounded(pairs, field, channel, float(video.end), room):
            room = room[0] - len(cues), room[1] - sum(len(cue[2]) for cue in cues)
            found.append(TextFacts(video.index, CODEC, "und" if found else spoken, title, cues))
    if found:
        notes.append(BECAME if len(found) == 1 else BECAME_SEVERAL.format(len(found)))
    elif data.digital:
        notes.append(LEFT_OUT)
    return tuple(found)


def _timed(data: CaptionData, field: int, video: VideoFacts) -> list[Pair]:
    """A field's pairs in the order in which pictures are shown, which is that of the captions."""
    ours = sorted((pair for pair in data.pairs if pair[1] == field), key=lambda pair: pair[0])
    return [(float(stamp * video.time_base), pair) for stamp, _, pair in ours]


def _bounded(pairs: list[Pair], field: int, channel: int, end: float, room: tuple[int, int]) -> tuple[Cue, ...]:
    taken: list[Cue] = []
    left = room[1]
    for cue in eia608.cues(pairs, field, channel, end):
        left -= len(cue[2])
        if left < 0 or len(taken) >= room[0]:
            break
        taken.append(cue)
    return tuple(taken)
