"""A disk of our own that can be made full: a tmpfs, which only root may mount."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.whole import Product

ROOM = 4 << 30
FULL_S = (0.5, 3.0)


def is_possible() -> bool:
    return os.geteuid() == 0


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A disk with ROOM, in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=700", "faults", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full(product: Product, chance: random.Random) -> None:
    """Not a byte more than what is there fits for a while."""
    _resize(product.data.parent, max(shutil.disk_usage(product.data).used, 1 << 20))
    time.sleep(chance.uniform(*FULL_S))
    _resize(product.data.parent, ROOM)


def _resize(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
