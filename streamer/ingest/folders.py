"""Which files of a folder are films to be taken, as far as their names and places tell."""

import os
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = (
    ".part",
    ".partial",
    ".crdownload",
    ".download",
    ".tmp",
    ".temp",
    ".filepart",
    ".aria2",
    ".!qb",
    ".opdownload",
)
"""What browsers and transfer programs call a file while they write it."""


def files(root: Path, leave_out: tuple[str, ...] = ()) -> Iterator[Path]:
    """The regular files below a folder, sorted; not hidden ones, not unfinished ones, no links, and not in its subfolders `leave_out`."""
    for folder, folders, names in os.walk(root):
        at_top = Path(folder) == root
        folders[:] = sorted(name for name in folders if _is_shown(name) and not (at_top and name in leave_out))
        for name in sorted(names):
            path = Path(folder, name)
            if is_finished(name) and path.is_file() and not path.is_symlink():
                yield path


def is_finished(name: str) -> bool:
    """Whether a file of this name may be taken."""
    return _is_shown(name) and not name.lower().endswith(UNFINISHED)


def _is_shown(name: str) -> bool:
    return not name.startswith((".", "~$")) and not name.endswith("~")
