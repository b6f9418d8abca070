"""What an object store can't do for uploads that grow in it: let one write at a time, and say in one step what counts.

S3 has neither locks nor transactions. So whoever writes to an upload first takes its *turn*, which has a number greater than that of every
turn before (a fence). Bytes that are in the store count from the moment the ledger has recorded them, and it refuses what comes from a turn
that another followed. A writer that was thought dead and goes on can thus store bytes, but never make them count.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from storage.base import ObjectExists, ObjectMissing, UploadBusy

PATIENCE_S = 2.5
"""How long a newcomer waits for whoever has the turn; longer than it takes to see that they are dead."""

_LOOK_S = 0.02


class Wish(StrEnum):
    """What a newcomer wants: to `hold`, for which a writer lets go, or to `append`, for which it does if nothing comes to it."""

    HOLD = "hold"
    APPEND = "append"


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to write to an upload. `handle` names its object in parts at `key`, once there is one."""

    id: str
    fence: int
    key: str
    handle: str | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of bytes that the store has: part `number` of the upload's object, or (0) an object of its own under `key`."""

    start: int
    size: int
    number: int = 0
    etag: str = ""
    key: str = ""


class UploadLedger(Protocol):
    """Shared by all that reach the store. What it answered is durable."""

    def open(self, id: str, key: str) -> None:
        """A new upload that will be the object `key`; ObjectExists when the id is taken."""
        ...

    def take(self, id: str, wish: Wish) -> Turn:
        """The next turn, waited for a moment; UploadBusy or ObjectMissing. It lasts as long as this process lives, or until `give_back`."""
        ...

    def give_back(self, turn: Turn) -> None:
        """Fine when it was taken away."""
        ...

    def asked(self, id: str, *, silent: bool) -> bool:
        """As `UploadStore.asked`, for who has the turn."""
        ...

    def look(self, id: str) -> Turn:
        """The turn of the moment, for who only wants to know the rest of it; ObjectMissing."""
        ...

    def pieces(self, id: str) -> list[Piece]:
        """What counts, in its order, without gaps; ObjectMissing."""
        ...

    def claim(self, turn: Turn) -> int:
        """A part number that nobody else ever gets; UploadBusy when the turn is over."""
        ...

    def begun(self, turn: Turn, handle: str) -> Turn:
        """Record that the object in parts exists; UploadBusy when the turn is over."""
        ...

    def record(self, turn: Turn, *, gone: Sequence[Piece] = (), new: Sequence[Piece] = ()) -> None:
        """In one step: `new` counts, in place of `gone`. UploadBusy when the turn is over."""
        ...

    def end(self, id: str) -> Turn | None:
        """No more turns, and what the last one still does is refused; None when there is no such upload."""
        ...

    def forget(self, id: str) -> None:
        """Of an upload that has ended."""
        ...

    def ids(self) -> Iterator[str]:
        """Of all that were opened and not forgotten."""
        ...


def over(id: str) -> UploadBusy:
    """The refusal for a turn that another followed."""
    return UploadBusy(f"somebody else writes to {id} now")


@dataclass
class _Entry:
    key: str
    fence: int = 0
    claimed: int = 0
    handle: str | None = None
    taken: bool = False
    ended: bool = False
    wish: Wish | None = None
    pieces: list[Piece] = field(default_factory=list)


class MemoryLedger:
    """For one process, without surviving it. For tests."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def open(self, id: str, key: str) -> None:
        with self._lock:
            if id in self._entries:
                raise ObjectExists(id)
            self._entries[id] = _Entry(key)

    def take(self, id: str, wish: Wish) -> Turn:
        until = time.monotonic() + PATIENCE_S
        while (turn := self._try(id, wish)) is None:
            if time.monotonic() > until:
                raise UploadBusy(f"somebody else is writing to {id}")
            time.sleep(_LOOK_S)
        return turn

    def give_back(self, turn: Turn) -> None:
        with self._lock:
            entry = self._entries.get(turn.id)
            if entry is not None and entry.fence == turn.fence:
                entry.taken = False

    def asked(self, id: str, *, silent: bool) -> bool:
        entry = self._entries.get(id)
        return entry is None or entry.ended or entry.wish == Wish.HOLD or (silent and entry.wish == Wish.APPEND)

    def look(self, id: str) -> Turn:
        with self._lock:
            entry = self._get(id)
            return Turn(id, entry.fence, entry.key, entry.handle)

    def pieces(self, id: str) -> list[Piece]:
        with self._lock:
            return sorted(self._get(id).pieces, key=lambda piece: piece.start)

    def claim(self, turn: Turn) -> int:
        with self._lock:
            entry = self._of(turn)
            entry.claimed += 1
            return entry.claimed

    def begun(self, turn: Turn, handle: str) -> Turn:
        with self._lock:
            self._of(turn).handle = handle
        return replace(turn, handle=handle)

    def record(self, turn: Turn, *, gone: Sequence[Piece] = (), new: Sequence[Piece] = ()) -> None:
        with self._lock:
            entry = self._of(turn)
            entry.pieces = [piece for piece in entry.pieces if piece not in gone] + list(new)

    def end(self, id: str) -> Turn | None:
        with self._lock:
            if (entry := self._entries.get(id)) is None:
                return None
            entry.fence, entry.ended = entry.fence + 1, True
            return Turn(id, entry.fence, entry.key, entry.handle)

    def forget(self, id: str) -> None:
        with self._lock:
            self._entries.pop(id, None)

    def ids(self) -> Iterator[str]:
        yield from sorted(self._entries)

    def _try(self, id: str, wish: Wish) -> Turn | None:
        with self._lock:
            entry = self._get(id)
            if entry.taken:
                entry.wish = Wish.HOLD if Wish.HOLD in (wish, entry.wish) else wish
                return None
            entry.taken, entry.wish, entry.fence = True, None, entry.fence + 1
            return Turn(id, entry.fence, entry.key, entry.handle)

    def _get(self, id: str) -> _Entry:
        entry = self._entries.get(id)
        if entry is None or entry.ended:
            raise ObjectMissing(id)
        return entry

    def _of(self, turn: Turn) -> _Entry:
        entry = self._entries.get(turn.id)
        if entry is None or entry.fence != turn.fence:
            raise over(turn.id)
        return entry
