"""What delivery holds of a person: what they watched. See `accounts.holdings`."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from streamer import db, http
from streamer.accounts.holdings import Erasure, Section
from streamer.delivery.tables import PlaybackSession

COLUMNS = ("playback_sessions.user_id",)


def export(s: Session, user_id: str) -> Iterable[Section]:
    """Each press of play."""
    yield "watched", map(_session, s.scalars(select(PlaybackSession).where(PlaybackSession.user_id == user_id)))


def erase(s: Session, erasure: Erasure) -> None:
    """What they watch now ends; that somebody watched stays, without whom."""
    theirs, now = PlaybackSession.user_id == erasure.user.id, db.now()
    live = theirs, PlaybackSession.killed_at.is_(None), PlaybackSession.expires_at > now
    s.execute(update(PlaybackSession).where(*live).values(killed_at=now))
    s.execute(update(PlaybackSession).where(theirs).values(user_id=None))


def _session(row: PlaybackSession) -> dict[str, Any]:
    return {
        "id": row.id,
        "asset_id": row.asset_id,
        "created_at": http.time(row.created_at),
        "ended_at": http.time(row.ended_at),
    }
