"""`streamer watch`: a folder whose films are imported as they appear, and moved aside when that is done.

Looks by listing, which works on every file system, network ones too. A file is taken when its size and time have stood still for a while and
no process that we can see has it open for writing. A restart takes nothing twice, because the bytes of a film are known by their hash:
a file that was imported and not yet moved is just moved. One that is to stay where it is need not be read again for that: `known` has it.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic

from sqlalchemy.exc import SQLAlchemyError

from packager import pipeline
from packager.errors import PackagerError, SourceRefused
from storage import StorageError
from streamer.catalog.tables import Policy
from streamer.errors import Conflict, Invalid, Problem, TooLarge
from streamer.ingest import batch, files, folders
from streamer.ingest.known import KnownFiles
from streamer.services import Services

DONE, FAILED = "done", "failed"
_LATER_S = 60.0  # before a file is tried again whose trouble was ours

State = tuple[int, int]
"""Size and time of change in ns."""


class Stopped(Exception):
    """The watch was told to end in the middle of a file."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How long a file must stand still, how often it is looked, in seconds; `leave`: nothing is moved."""

    policy: Policy = Policy.PRIVATE
    settle_s: float = 10.0
    every_s: float = 2.0
    leave: bool = False


@dataclass
class Watch:
    """`seen` has for each file the state it stands still in, and since when; `over` the states that need no second look."""

    services: Services
    user_id: str
    folder: Path
    rules: Rules
    tell: Callable[[str], None]
    stop: threading.Event = field(default_factory=threading.Event)
    seen: dict[Path, tuple[State, float]] = field(default_factory=dict)
    over: dict[Path, State] = field(default_factory=dict)

    @cached_property
    def known(self) -> KnownFiles:
        """What earlier runs have imported and left where it was."""
        return KnownFiles(self.services.config.data.dir / "watched.db", self.user_id)

    def run(self) -> None:
        """Until told to stop."""
        while not self.stop.is_set():
            self.look()
            self.stop.wait(self.rules.every_s)

    def look(self) -> int:
        """One round over the folder; how many files were taken."""
        there = list(folders.files(self.folder, leave_out=(DONE, FAILED)))
        self.seen = {path: known for path, known in self.seen.items() if path in set(there)}
        taken = 0
        for path in there:
            if not self.stop.is_set() and self._is_ready(path):
                self._take(path)
                taken += 1
        return taken

    def _is_ready(self, path: Path) -> bool:
        try:
            found = path.stat()
        except OSError:
            return False  # it has just gone
        state = found.st_size, found.st_mtime_ns
        if self.over.get(path) == state or self._was_imported(path, found):
            return False
        if self.seen.get(path, (None, 0.0))[0] != state:
            self.seen[path] = state, monotonic()
        return monotonic() - self.seen[path][1] >= self.rules.settle_s and not is_being_written(path)

    def _was_imported(self, path: Path, found: os.stat_result) -> bool:
        """In an earlier run. Asked once for each state of a file."""
        state = found.st_size, found.st_mtime_ns
        if not self.rules.leave or self.seen.get(path, (None, 0.0))[0] == state or not self.known.get(path, found):
            return False
        self.over[path] = state
        return True

    def _take(self, path: Path) -> None:
        name, state, began = path.relative_to(self.folder), self.seen[path][0], monotonic()
        try:
            done = files.bring_in(
                self.services, self.user_id, path, self.rules.policy, check=self._probe, look=self._look
            )
            words = batch.said(done, path, monotonic() - began)
        except Stopped:
            return
        except (Invalid, TooLarge, SourceRefused) as error:
            return self._aside(
                path, state, FAILED, str(error) if isinstance(error, SourceRefused) else batch.reason(error)
            )
        except (Problem, StorageError, SQLAlchemyError, OSError) as error:
            self.tell(f"{name}: it has to wait: {batch.reason(error)}")
            self.seen[path] = state, monotonic() + (0.0 if isinstance(error, Conflict) else _LATER_S)
            return
        self._aside(path, state, DONE, words)

    def _probe(self, path: Path) -> None:
        """What is no film is told here and now, not after it was copied and queued. What only broke is left for the encode to try."""
        try:
            pipeline.probe(path, cancelled=self.stop.is_set)
        except SourceRefused:
            raise
        except PackagerError as error:
            self._look(0, 0)
            self.tell(f"{path.relative_to(self.folder)}: {error.title}; it is imported all the same")

    def _look(self, done: int, size: int) -> None:
        if self.stop.is_set():
            raise Stopped

    def _aside(self, path: Path, state: State, where: str, words: str) -> None:
        self.tell(f"{path.relative_to(self.folder)}: {words if where == DONE else f'failed: {words}'}")
        self.over[path] = state
        if self.rules.leave:
            return self._remember(path, state, words) if where == DONE else None
        try:
            moved = move(path, self.folder / where / path.relative_to(self.folder))
            if where == FAILED:
                moved.with_name(f"{moved.name}.txt").write_text(f"{words}\n")
        except OSError as error:
            self.tell(f"{path.relative_to(self.folder)}: it can't be moved: {batch.reason(error)}")

    def _remember(self, path: Path, state: State, words: str) -> None:
        try:
            found = path.stat()
            if (found.st_size, found.st_mtime_ns) == state:
                self.known.put(path, found, words)
        except (OSError, Problem) as error:
            self.tell(
                f"{path.relative_to(self.folder)}: it will be read once more after a restart: {batch.reason(error)}"
            )


def move(path: Path, target: Path) -> Path:
    """Move the file to `target`, or beside what has that name already; where it is now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    free, number = target, 2
    while free.exists():
        free, number = target.with_name(f"{target.stem} ({number}){target.suffix}"), number + 1
    return path.rename(free)


def is_being_written(path: Path) -> bool:
    """Whether a process of this machine has the file open for writing, as far as /proc lets us see."""
    wanted = str(path.resolve())
    return any(_writes(process, wanted) for process in _processes())


def _processes() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _writes(process: str, wanted: str) -> bool:
    """Flags in /proc/<pid>/fdinfo/<fd> are octal; the last digit is the way it was opened: 1 to write, 2 for both."""
    try:
        for handle in os.listdir(f"/proc/{process}/fd"):
            if os.readlink(f"/proc/{process}/fd/{handle}") == wanted and _is_writable(process, handle):
                return True
    except OSError:
        pass  # not ours to see, or gone meanwhile
    return False


def _is_writable(process: str, handle: str) -> bool:
    with open(f"/proc/{process}/fdinfo/{handle}") as info:
        flags = next((line.split()[1] for line in info if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
