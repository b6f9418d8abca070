"""Links in letters: 256 random bits that open one thing once, for a while. Stored as SHA-256, so a copy of the database opens nothing.

Whatever is wrong with a link (never made, used, withdrawn, too old), the answer is the same. All but `purge` work inside the caller's transaction.
"""

import hashlib
import secrets
from collections.abc import Collection
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from streamer import db, ids, retention
from streamer.errors import Gone
from streamer.membership.tables import Ticket
from streamer.services import Services


class Purpose(StrEnum):
    """What a link does; each is good for nothing else."""

    SIGN_UP = "sign_up"
    INVITATION = "invitation"
    VERIFY = "verify"
    CHANGE_ADDRESS = "change_address"
    RESET = "reset"


class LinkInvalid(Gone):
    """The secret opens nothing (any more)."""

    default_code, title = "link_invalid", "This link cannot be used any more"

    def __init__(self) -> None:
        super().__init__("It has been used, was withdrawn, or is too old. Ask for another one.")


def issue(s: Session, purpose: Purpose, subject_id: str, lifetime_s: int, data: dict[str, Any] | None = None) -> str:
    """The secret of a new link. It exists nowhere but in the letter."""
    secret = secrets.token_urlsafe(32)
    now = db.now()
    s.add(
        Ticket(
            id=ids.new("tkt"),
            purpose=purpose,
            subject_id=subject_id,
            secret_sha256=_digest(secret),
            data=data,
            created_at=now,
            expires_at=now + timedelta(seconds=lifetime_s),
        )
    )
    return secret


def look(s: Session, secret: str, *purposes: Purpose) -> Ticket:
    """What the link would open, without using it up (mail scanners follow links), or LinkInvalid."""
    live = Ticket.secret_sha256 == _digest(secret), Ticket.used_at.is_(None), Ticket.expires_at > db.now()
    found = s.scalars(select(Ticket).where(*live, Ticket.purpose.in_(purposes))).one_or_none()
    if found is None:
        raise LinkInvalid
    return found


def use(s: Session, secret: str, *purposes: Purpose) -> tuple[Ticket, dict[str, Any]]:
    """Use the link up: its ticket and data. Of two who use it at once one gets LinkInvalid."""
    ticket = look(s, secret, *purposes)
    data = dict(ticket.data or {})
    used = update(Ticket).where(Ticket.id == ticket.id, Ticket.used_at.is_(None)).values(used_at=db.now(), data=None)
    result = s.execute(used)
    assert isinstance(result, CursorResult)
    if result.rowcount != 1:
        raise LinkInvalid
    return ticket, data


def void(s: Session, subject_id: str, purposes: Collection[Purpose]) -> None:
    """Links that were sent before open nothing any more."""
    open_ones = Ticket.subject_id == subject_id, Ticket.purpose.in_(purposes), Ticket.used_at.is_(None)
    s.execute(update(Ticket).where(*open_ones).values(used_at=db.now(), data=None))


def purge(services: Services) -> int:
    """A chore: remove links that are over; how many that were."""
    return retention.purge(services, Ticket.id, Ticket.expires_at, db.now())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
