"""The chain of the audit log: walked from its start, and checked. An entry that was altered, taken out or put in shows."""

from collections.abc import Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import audit, personal
from streamer.accounts.tables import AuditEntry, AuditHead

START = "0" * 64
"""The hash before the first entry."""
_BATCH = 500


class Broken(Exception):
    """The chain does not hold; the text says where."""


def after(s: Session, sequence: int, limit: int = _BATCH) -> Sequence[AuditEntry]:
    """The entries behind that number, oldest first."""
    return s.scalars(
        select(AuditEntry).where(AuditEntry.sequence > sequence).order_by(AuditEntry.sequence).limit(limit)
    ).all()


def walk(source: db.HasEngine) -> Iterator[AuditEntry]:
    """All entries, oldest first, in many short transactions."""
    last = 0
    while True:
        with db.reading(source) as s:
            batch = after(s, last)
        yield from batch
        if not batch:
            return
        last = batch[-1].sequence


def verify(source: db.HasEngine) -> tuple[int, str]:
    """How many entries there are, and the last hash; Broken at the first that is not what was written."""
    with db.reading(source) as s:
        head = s.scalars(select(AuditHead)).one()
    last, chained = 0, START
    erasures = _Erasures()
    for entry in walk(source):
        if entry.sequence != last + 1:
            raise Broken(f"Entry {last + 1} is missing.")
        if entry.hash != audit.hash_of(chained, entry) or not _is_genuine(entry):
            raise Broken(f"Entry {entry.sequence} is not what was written, or one before it was taken out.")
        last, chained = entry.sequence, entry.hash
        if last == head.sequence and chained != head.hash:
            raise Broken(f"Entry {last} is not the one that was written last.")
        erasures.look(entry)
    if last < head.sequence:
        raise Broken(f"Entries {last + 1} to {head.sequence} are missing.")
    erasures.check()
    return last, chained


class _Erasures:
    """Values may be gone only of people whose erasure is in the log itself, addresses also where the log says that they were old."""

    def __init__(self) -> None:
        self._erased: set[str | None] = set()
        self._gone: dict[str | None, int] = {}
        self._forgotten = 0
        self._addresses: dict[str | None, int] = {}

    def look(self, entry: AuditEntry) -> None:
        for place, kept in (entry.personal or {}).items():
            if kept is None and place == personal.ADDRESS:
                self._addresses[entry.user_id or entry.person_id] = entry.sequence
            elif kept is None:
                self._gone.setdefault(entry.person_id, entry.sequence)
        if entry.action == audit.ERASED:
            self._erased |= {entry.subject_id, *(entry.after or {}).get("also", [])}
        elif entry.action == audit.FORGOTTEN:
            self._forgotten = (entry.after or {})["until"]

    def check(self) -> None:
        young = {whose: last for whose, last in self._addresses.items() if last > self._forgotten}
        if wrong := [
            sequence for gone in (self._gone, young) for whose, sequence in gone.items() if whose not in self._erased
        ]:
            raise Broken(f"Entry {min(wrong)} lost personal values of somebody who was never erased.")


def _is_genuine(entry: AuditEntry) -> bool:
    kept = entry.personal or {}
    hashed = {personal.ADDRESS: entry.address}
    for side, facts in (("before", entry.before), ("after", entry.after)):
        hashed |= {f"{side}.{name}": value for name, value in (facts or {}).items()}
    return all(place in hashed and personal.is_genuine(kept, place, hashed[place]) for place in kept)
