"""Deliveries: planned with the numbering of their event, tried when due, settled after each attempt. All inside the caller's transaction."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from streamer import ids
from streamer.config import Webhooks
from streamer.db import database_now
from streamer.errors import Conflict, NotFound
from streamer.events.tables import Event
from streamer.webhooks import endpoints
from streamer.webhooks.tables import Delivery, DeliveryState, Endpoint

_JITTER = 0.1
_ERROR_MAX = 200
_GONE = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: the HTTP status, if there was an answer, and a sentence, if it was no success."""

    status: int | None = None
    error: str | None = None


def plan(s: Session, events: Sequence[Event]) -> None:
    """What the relay calls: one delivery for each event and each enabled endpoint that wants it."""
    wanting = endpoints.enabled(s)
    moment = _moment(s)
    for event in events:
        for endpoint in wanting:
            if endpoints.wants(endpoint, event.type):
                s.add(_delivery(event, endpoint, moment))
    s.flush()


def due_endpoints(s: Session) -> Sequence[str]:
    """Those that something waits for and nobody sends to."""
    waits = exists().where(Delivery.endpoint_id == Endpoint.id, *_due())
    free = or_(Endpoint.courier_until.is_(None), Endpoint.courier_until < database_now())
    return s.scalars(select(Endpoint.id).where(Endpoint.disabled_at.is_(None), free, waits)).all()


def next_due(s: Session, endpoint_id: str) -> tuple[Delivery, Event] | None:
    """The earliest event among the due ones."""
    query = select(Delivery, Event).join(Event, Event.id == Delivery.event_id)
    row = s.execute(query.where(Delivery.endpoint_id == endpoint_id, *_due()).order_by(Event.sequence).limit(1)).first()
    return (row[0], row[1]) if row else None


def settle(s: Session, tried: Delivery, outcome: Outcome, settings: Webhooks) -> bool:
    """Write down how the attempt ended that was made when the row was as in `tried`. False when it is gone or was changed since."""
    endpoint = s.get(Endpoint, tried.endpoint_id, with_for_update=True, populate_existing=True)
    delivery = s.get(Delivery, tried.id, with_for_update=True, populate_existing=True)
    if endpoint is None or delivery is None or (delivery.attempts, delivery.due_at) != (tried.attempts, tried.due_at):
        return False
    moment = _moment(s)
    delivery.attempts, delivery.tried_at = tried.attempts + 1, moment
    delivery.status, delivery.error = outcome.status, (outcome.error or "")[:_ERROR_MAX] or None
    if outcome.error is None:
        delivery.state, endpoint.failing_since = DeliveryState.DELIVERED, None
    else:
        _failed(delivery, endpoint, settings, moment)
    return True


def resend(s: Session, endpoint_id: str, delivery_id: str) -> Delivery:
    """Send it again now, with all its attempts, whatever became of it. Conflict while the endpoint is disabled."""
    if endpoints.get(s, endpoint_id).disabled_at is not None:
        raise Conflict("The endpoint is disabled; enable it first.", code="endpoint_disabled")
    delivery = s.get(Delivery, delivery_id, with_for_update=True) if ids.is_id(delivery_id) else None
    if delivery is None or delivery.endpoint_id != endpoint_id:
        raise NotFound("This endpoint has no such delivery.")
    delivery.state, delivery.attempts, delivery.due_at = DeliveryState.PENDING, 0, _moment(s)
    return delivery


def _failed(delivery: Delivery, endpoint: Endpoint, settings: Webhooks, moment: datetime) -> None:
    endpoint.failing_since = endpoint.failing_since or moment
    if delivery.status == _GONE or delivery.attempts > len(settings.retry_s):
        delivery.state = DeliveryState.DEAD
    else:
        pause = settings.retry_s[delivery.attempts - 1] * random.uniform(1, 1 + _JITTER)
        delivery.due_at = moment + timedelta(seconds=pause)
    if delivery.status == _GONE:
        endpoints.disable(endpoint, endpoints.GONE)
    elif moment - endpoint.failing_since >= timedelta(seconds=settings.disable_after_s):
        endpoints.disable(endpoint, endpoints.FAILING)


def _delivery(event: Event, endpoint: Endpoint, moment: datetime) -> Delivery:
    return Delivery(
        id=ids.new("whd"),
        endpoint_id=endpoint.id,
        event_id=event.id,
        state=DeliveryState.PENDING,
        attempts=0,
        due_at=moment,
        created_at=moment,
    )


def _moment(s: Session) -> datetime:
    return s.scalars(select(database_now())).one()


def _due() -> tuple[ColumnElement[bool], ...]:
    return (Delivery.state == DeliveryState.PENDING, Delivery.due_at <= database_now())
