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
    """Hardly a byte more than what is there fits for a while."""
    disk = product.data.parent
    while not _resized(disk, shutil.disk_usage(disk).used + (1 << 20)):
        pass  # it grew in between, and no disk is made smaller than what it holds
    time.sleep(chance.uniform(*FULL_S))
    if not _resized(disk, ROOM):
        raise OSError(f"{disk} can't be made large again")


def _resized(folder: Path, size: int) -> bool:
    return subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], capture_output=True).returncode == 0
