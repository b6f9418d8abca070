"""The audit log read newest first, in pages: by whom, about what, which action, from when until when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from streamer import ids
from streamer.accounts.tables import AuditEntry
from streamer.errors import unfit

CURSOR_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries; what is None doesn't matter. `person` did it or had it done to them."""

    user_id: str | None = None
    subject_id: str | None = None
    key_id: str | None = None
    person: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        """As SQL."""
        found: list[ColumnElement[bool]] = []
        columns = (AuditEntry.user_id, self.user_id), (AuditEntry.subject_id, self.subject_id), (AuditEntry.key_id, self.key_id)  # fmt: skip
        found += [column == _id(value) for column, value in columns if value]
        if self.person:
            found.append(or_(AuditEntry.user_id == _id(self.person), AuditEntry.subject_id == _id(self.person)))
        if self.action:
            found.append(AuditEntry.action == (self.action if self.action.isascii() else ""))
        if self.since:
            found.append(AuditEntry.at >= self.since)
        if self.until:
            found.append(AuditEntry.at < self.until)
        return found


def page(s: Session, wanted: Wanted, count: int, cursor: str | None) -> tuple[Sequence[AuditEntry], str | None]:
    """`count` entries behind the cursor, newest first, and the next cursor. Keyset: a deep page costs what the first one does."""
    query = select(AuditEntry).where(*wanted.clauses())
    if cursor is not None:
        query = query.where(AuditEntry.sequence < _number(cursor))
    rows = s.scalars(query.order_by(AuditEntry.sequence.desc()).limit(count + 1)).all()
    shown = rows[:count]
    return shown, str(shown[-1].sequence) if len(rows) > count else None


def actions(s: Session) -> Sequence[str]:
    """Those that there are entries of."""
    return sorted(s.scalars(select(AuditEntry.action).distinct()))


def _id(text: str) -> str:
    return text if ids.is_id(text) else ""


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= CURSOR_DIGITS):
        raise unfit("cursor", "must be a next_cursor from the page before", text)
    return int(text)
