"""The rows of what is sent, and where to."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from streamer.db import Base, Code, Id, Json, UtcDateTime, exact
from streamer.events.tables import Event

_SEALED = exact(255, ascii_only=True)


class DeliveryState(StrEnum):
    """`pending` is tried from `due_at` on; `dead` has used up its attempts and waits for somebody who resends it."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Endpoint(Base):
    """A customer's address. `types` are event types, `["*"]` all; secrets are sealed (`streamer.sealing`).

    `failing_since` is the first failure since the last success; until `quiet_until` it asked to be left alone. One courier at a time,
    `courier` until `courier_until`, sends to it.
    """

    __tablename__ = "webhook_endpoints"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    description: Mapped[str] = mapped_column(String(200))
    types: Mapped[list[str]] = mapped_column(Json)
    secret: Mapped[str] = mapped_column(_SEALED)
    old_secret: Mapped[str | None] = mapped_column(_SEALED)
    old_secret_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    quiet_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_reason: Mapped[str | None] = mapped_column(Code)
    courier: Mapped[str | None] = mapped_column(Id)
    courier_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Delivery(Base):
    """One event for one endpoint. Goes with either of them."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id", name="uq_webhook_deliveries_event_id_endpoint_id"),
        Index("ix_webhook_deliveries_endpoint_id_state_due_at", "endpoint_id", "state", "due_at"),
        Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
        Index("ix_webhook_deliveries_endpoint_id_state_id", "endpoint_id", "state", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(Id, ForeignKey(Endpoint.id, ondelete="CASCADE"))
    event_id: Mapped[str] = mapped_column(Id, ForeignKey(Event.id, ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(Code, default=DeliveryState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    status: Mapped[int | None] = mapped_column()
    error: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Attempt(Base):
    """One POST of a delivery, which it goes with: `took_ms` until the answer or the fault."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (Index("ix_webhook_attempts_delivery_id_id", "delivery_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    delivery_id: Mapped[str] = mapped_column(Id, ForeignKey(Delivery.id, ondelete="CASCADE"))
    tried_at: Mapped[datetime] = mapped_column(UtcDateTime)
    took_ms: Mapped[int] = mapped_column()
    status: Mapped[int | None] = mapped_column()
    error: Mapped[str | None] = mapped_column(String(200))
