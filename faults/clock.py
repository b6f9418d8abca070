"""Clocks that are wrong by an hour, by libfaketime: of the product's processes, not of the database."""

from __future__ import annotations

import random
import time
from pathlib import Path

from faults.processes import Fault
from tests.whole import Product

WRONG_S = (1.0, 5.0)
PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


def library() -> Path | None:
    """Where it is installed."""
    return next((path for place in PLACES for path in sorted(Path("/").glob(place.lstrip("/")))), None)


def environment(clock: Path, faketime: Path) -> dict[str, str]:
    """For processes whose clock is what the file says."""
    clock.write_text("+0")
    return {
        "LD_PRELOAD": str(faketime),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def wrong(clock: Path) -> Fault:
    """An hour ahead or behind, and right again."""

    def fault(product: Product, chance: random.Random) -> None:
        clock.write_text(chance.choice(("+3600", "-3600")))
        time.sleep(chance.uniform(*WRONG_S))
        clock.write_text("+0")

    return fault
