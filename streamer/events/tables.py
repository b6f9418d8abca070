"""The rows of what happened."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from streamer.db import Base, Code, Id, Json, UtcDateTime


class Event(Base):
    """One thing that happened. `entry` is the order of writing inside one transaction; `sequence` is everybody's order, without gaps,
    and empty until a relay has seen the row committed."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_created_at", "created_at"), Index("ix_events_type_sequence", "type", "sequence"))

    entry: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    id: Mapped[str] = mapped_column(Id, unique=True)
    sequence: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    type: Mapped[str] = mapped_column(Code)
    subject_id: Mapped[str] = mapped_column(Id)
    data: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EventHead(Base):
    """The one row whose lock puts the relays in line; `sequence` is the last number given, which outlives the events themselves."""

    __tablename__ = "event_heads"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(BigInteger)
