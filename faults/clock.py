"""Clocks that are wrong by an hour: those of the product's processes, not of the database and of storage."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from faults.processes import Fault
from tests.whole import Product

HOUR = 3600
WRONG_S = (2.0, 6.0)
FOLDER = Path(__file__).parent / "wrong_clock"


def environment(clock: Path) -> dict[str, str]:
    """For processes whose clock is wrong by as many seconds as the file says."""
    clock.write_text("0")
    return {
        "WRONG_CLOCK": str(clock),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH")))),
    }


def wrong(clock: Path) -> Fault:
    """An hour ahead or behind, and right again."""

    def fault(product: Product, chance: random.Random) -> None:
        clock.write_text(str(chance.choice((HOUR, -HOUR))))
        time.sleep(chance.uniform(*WRONG_S))
        clock.write_text("0")

    return fault
