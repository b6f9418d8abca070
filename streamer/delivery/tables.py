"""The table of playback sessions: one row per press of play, kept as the record of who was let in to what.

Rows are written when a session opens and when it ends, never while it plays: positions and liveness are Redis's (`sessions.py`).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from streamer.accounts.tables import User
from streamer.catalog.tables import Asset, PlaybackId, Version
from streamer.db import Base, Id, UtcDateTime


class PlaybackSession(Base):
    """`cap` is the largest short side allowed, in pixels; `expires_at` when its newest token ends."""

    __tablename__ = "playback_sessions"
    __table_args__ = (
        Index(None, "asset_id", "id"),
        Index(None, "user_id", "created_at"),
        Index(None, "killed_at"),
        Index(None, "expires_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    playback_id: Mapped[str] = mapped_column(Id, ForeignKey(PlaybackId.id))
    asset_id: Mapped[str] = mapped_column(Id, ForeignKey(Asset.id))
    version_id: Mapped[str] = mapped_column(Id, ForeignKey(Version.id))
    user_id: Mapped[str | None] = mapped_column(Id, ForeignKey(User.id))
    cap: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    killed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
