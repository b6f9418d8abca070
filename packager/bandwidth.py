"""Bit rates of a rendition from its segments, as players budget for them (RFC 8216 §4.3.4.2, Apple's HLS authoring specification 9.17).

Segments are (bytes, seconds) pairs, the seconds as the playlist says them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

TARGET: Final = 6  # seconds (A7.5)


def peak(parts: Sequence[tuple[int, Fraction]], target: int = TARGET) -> int:
    """The largest bit/s over any run of segments of half to one and a half `target` seconds, rounded up. A film too short for any such run counts as one run."""
    worst = Fraction(0)
    for first in range(len(parts)):
        size, seconds = 0, Fraction(0)
        for part_size, part_seconds in parts[first:]:
            size, seconds = size + part_size, seconds + part_seconds
            if seconds > Fraction(3, 2) * target:
                break
            if 2 * seconds >= target:
                worst = max(worst, 8 * size / seconds)
    return -int(-worst // 1) if worst else average(parts)


def average(parts: Sequence[tuple[int, Fraction]]) -> int:
    """Mean bit/s, rounded up."""
    seconds = sum((duration for _, duration in parts), Fraction(0))
    return -int(-8 * sum(size for size, _ in parts) / seconds // 1) if seconds else 0
