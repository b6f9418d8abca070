"""Progress of an encode: percent, speed and time left, from the pixels that are done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """`stage` is probing, encoding or packaging; `percent` 0 to 100 of the whole; `speed` in seconds of film per second."""

    stage: str
    percent: float
    eta_s: float | None = None
    speed: float | None = None
    playable: bool = False


class Meter:
    """Work counts in seconds of film times a rung's cost. What was found finished counts as done but not as speed. For any thread."""

    def __init__(self, total: float, per_second: float, report: Callable[[Progress], None]) -> None:
        self._total, self._per_second, self._report = total, per_second, report
        self._lock = threading.Lock()
        self._found = self._worked = 0.0
        self._under_way: dict[object, float] = {}
        self._since = time.monotonic()
        self.playable = False

    def found(self, cost: float) -> None:
        with self._lock:
            self._found += cost

    def at(self, piece: object, cost: float) -> None:
        """`piece` has come to `cost` of its work."""
        with self._lock:
            self._under_way[piece] = cost
        self._report(self.progress())

    def done(self, piece: object, cost: float) -> None:
        with self._lock:
            self._under_way.pop(piece, None)
            self._worked += cost
        self._report(self.progress())

    def speed(self) -> float:
        """Seconds of film, in all its rungs, per second; 0 before anything is known."""
        with self._lock:
            worked = self._worked + sum(self._under_way.values())
        return worked / self._per_second / max(0.001, time.monotonic() - self._since)

    def progress(self) -> Progress:
        speed = self.speed()
        with self._lock:
            done = min(self._total, self._found + self._worked + sum(self._under_way.values()))
        left = (self._total - done) / self._per_second
        return Progress(
            "encoding", 98 * done / self._total, left / speed if speed else None, speed or None, self.playable
        )
