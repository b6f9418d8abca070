"""How loud sound should be, and what one gain for the whole of a track can do about it: pure decisions.

Loudness is ITU-R BS.1770's, gated, in LUFS. The target is AES TD1008's (2021) for speech and mixed programmes on the internet, -18 LUFS: a
telephone can play it loud enough, and nobody reaches for the volume between two films. One constant gain changes no dynamics. What it lifts over the ceiling, and only
that, a limiter catches. It looks at twice the sample rate, so peaks between samples are seen to a few tenths of a decibel. TD1008 asks for no
more than -1 dBTP; the limiter holds -2, because AAC at our bit rates adds about one more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TARGET = -18.0
MOST_DB = 12.0  # lifts a cinema mix (-27 to -30) to the target or nearly; more would lift mostly noise, and the limiter would be heard
CLOSE_LU = 1.0  # a difference that few hear
ALMOST_SILENT = -50.0  # hum and hiss: louder they would be no better
UNMEASURED = -70.0  # BS.1770's absolute gate: what FFmpeg answers when nothing passed it
LOUDEST = 20.0  # float samples may be over full scale, but not by more than this
WINDOWS, WINDOW_S, WHOLE_S = 30, 2, 90
CEILING = 10 ** (-2 / 20)
OVERSAMPLED = 96000


@dataclass(frozen=True, slots=True)
class Loudness:
    """What was done to a track: `measured` in its source and `result` in what was encoded are LUFS, None for silence; `gain` in dB."""

    measured: float | None
    gain: float
    result: float | None

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Loudness:
        """Raises KeyError, TypeError or ValueError for what can't be."""
        measured, gain, result = fields["measured"], float(fields["gain"]), fields["result"]
        if not all(-100 < value < 100 for value in (gain, measured or 0.0, result or 0.0)):
            raise ValueError("loudness out of bounds")
        return cls(measured, gain, result)


def windows(start: float, end: float) -> list[tuple[float, float]]:
    """The parts of [start, end) seconds to measure: all of it if it is short, else WINDOWS pieces of WINDOW_S spread evenly."""
    if end - start <= WHOLE_S:
        return [(start, end)]
    step = (end - start) / WINDOWS
    firsts = [start + step * n + (step - WINDOW_S) / 2 for n in range(WINDOWS)]
    return [(first, first + WINDOW_S) for first in firsts]


def gain(measured: float | None, target: float) -> float:
    """Decibels for the whole track; tenths are enough, and rounding lets machines agree whose decoders differ in the last bit."""
    if measured is None or measured < ALMOST_SILENT or abs(target - measured) <= CLOSE_LU:
        return 0.0
    return round(min(target - measured, MOST_DB), 1)


def filters(gain: float) -> list[tuple[str, str]]:
    """FFmpeg's filters for a gain. Only what is raised can be pushed over the ceiling; sound left alone or lowered keeps its own peaks."""
    if gain <= 0:
        return [("volume", f"{gain}dB")] if gain else []
    return [
        ("volume", f"{gain}dB"),
        ("aresample", f"{OVERSAMPLED}"),
        # level=false: no make-up gain. latency=true: the look-ahead delays nothing.
        ("alimiter", f"limit={CEILING:.3f}:level=false:latency=true"),
    ]


def lufs(text: str | None) -> float | None:
    """FFmpeg's answer in tenths; None when nothing but silence was heard, or too little to measure."""
    value = float(text or UNMEASURED)
    return round(value, 1) if UNMEASURED < value < LOUDEST else None


def sentence(track: int, found: Loudness) -> str:
    """For the editor."""
    if found.measured is None or found.measured < ALMOST_SILENT:
        return f"Audio track {track} is silent or nearly so; its level was left as it is."
    now = f"{found.result} LUFS" if found.result is not None else "silence"
    if not found.gain:
        return (
            f"Audio track {track} is at about {found.measured} LUFS; its level was left as it is ({now} in the whole)."
        )
    turned = "raised" if found.gain > 0 else "lowered"
    most = ", the most we raise," if found.gain >= MOST_DB else ""
    return f"Audio track {track} was at about {found.measured} LUFS; it was {turned} by {abs(found.gain)} dB{most} to {now}."
