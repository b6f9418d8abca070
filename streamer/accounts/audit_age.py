"""Addresses in the audit log that are older than they need be: forgotten, so that the chain still holds.

They stand in it as commitments (see `personal`). Up to which entry they are gone is itself an entry, so whoever checks the chain knows that nobody
took them out by hand. Once a day, by whole days, lest each sweep leave an entry.
"""

from datetime import datetime, time

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import db, retention
from streamer.accounts import audit, audit_chain, personal
from streamer.accounts.tables import AuditEntry
from streamer.services import Services

_MOST = 200


def sweep(services: Services) -> int:
    """A chore: forget where some of the oldest entries came from; how many entries were looked at."""
    days = services.config.retention.audit_address_days
    if not days:
        return 0
    until = datetime.combine(retention.before(days), time(), db.now().tzinfo)
    with db.reading(services) as s:
        if not _old(s, until, 1):
            return 0
    return db.retrying(services, lambda s: _forget(s, until))


def _forget(s: Session, until: datetime) -> int:
    old = _old(s, until, _MOST)
    for entry in old:
        if (entry.personal or {}).get(personal.ADDRESS):
            entry.personal = {**(entry.personal or {}), personal.ADDRESS: None}
    if old:
        audit.record(s, audit.FORGOTTEN, "audit", after={"until": old[-1].sequence})
    return len(old)


def _old(s: Session, until: datetime, limit: int) -> list[AuditEntry]:
    """The first entries that were not looked at. By their numbers, which have no gaps: nothing is read twice."""
    found = []
    for entry in audit_chain.after(s, _done(s), limit):
        if entry.at >= until:
            break
        found.append(entry)
    return found


def _done(s: Session) -> int:
    newest = select(AuditEntry.after).where(AuditEntry.action == audit.FORGOTTEN)
    told = s.scalar(newest.order_by(AuditEntry.sequence.desc()).limit(1))
    return int(told["until"]) if told else 0
