"""Deliveries: planned with the numbering of their event, tried when due, settled after each attempt. All inside the caller's transaction."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, exists, or_, select
from sqlalchemy.orm import Session

from streamer import ids
from streamer.accounts import audit
from streamer.config import Webhooks
from streamer.db import database_now
from streamer.errors import NotFound
from streamer.events import outbox
from streamer.events.tables import Event
from streamer.webhooks import endpoints
from streamer.webhooks.tables import Attempt, Delivery, DeliveryState, Endpoint

REPLAYED = 1000
"""Events that one replay plans at most."""

_JITTER = 0.1
_ERROR_MAX = 200
_GONE = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: the HTTP status, if there was an answer, and a sentence, if it was no success. `wait_s`: it asked for a pause."""

    status: int | None = None
    error: str | None = None
    wait_s: float | None = None


def plan(s: Session, events: Sequence[Event]) -> None:
    """What the relay calls: one delivery for each event and each enabled endpoint that wants it."""
    wanting = endpoints.enabled(s)
    moment = _moment(s)
    for event in events:
        for endpoint in wanting:
            if endpoints.wants(endpoint, event):
                s.add(_delivery(event, endpoint, moment))
    s.flush()


def due_endpoints(s: Session) -> Sequence[str]:
    """Those that something waits for and nobody sends to."""
    waits = exists().where(Delivery.endpoint_id == Endpoint.id, *_due())
    free = or_(Endpoint.courier_until.is_(None), Endpoint.courier_until < database_now())
    return s.scalars(select(Endpoint.id).where(*endpoints.awake(), free, waits)).all()


def next_due(s: Session, endpoint_id: str) -> tuple[Delivery, Event] | None:
    """The earliest event among the due ones."""
    query = select(Delivery, Event).join(Event, Event.id == Delivery.event_id)
    row = s.execute(query.where(Delivery.endpoint_id == endpoint_id, *_due()).order_by(Event.sequence).limit(1)).first()
    return (row[0], row[1]) if row else None


def settle(s: Session, tried: Delivery, outcome: Outcome, settings: Webhooks, took_s: float = 0.0) -> bool:
    """Write down how the attempt ended that was made when the row was as in `tried`. False when it is gone or was changed since."""
    endpoint = s.get(Endpoint, tried.endpoint_id, with_for_update=True, populate_existing=True)
    delivery = s.get(Delivery, tried.id, with_for_update=True, populate_existing=True)
    if endpoint is None or delivery is None or (delivery.attempts, delivery.due_at) != (tried.attempts, tried.due_at):
        return False
    moment = _moment(s)
    delivery.attempts, delivery.tried_at = tried.attempts + 1, moment
    delivery.status, delivery.error = outcome.status, (outcome.error or "")[:_ERROR_MAX] or None
    s.add(_attempt(delivery, moment, took_s))
    if outcome.wait_s:
        endpoint.quiet_until = moment + timedelta(seconds=outcome.wait_s)
    if outcome.error is None:
        delivery.state, endpoint.failing_since = DeliveryState.DELIVERED, None
    else:
        _failed(delivery, endpoint, settings, moment)
    return True


def get(s: Session, endpoint_id: str, delivery_id: str) -> Delivery:
    """The endpoint's delivery, or NotFound."""
    delivery = s.get(Delivery, delivery_id) if ids.is_id(delivery_id) else None
    if delivery is None or delivery.endpoint_id != endpoint_id:
        raise NotFound("This endpoint has no such delivery.")
    return delivery


def attempts(s: Session, delivery_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """What was tried, by delivery, oldest first."""
    found: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in s.scalars(select(Attempt).where(Attempt.delivery_id.in_(delivery_ids)).order_by(Attempt.id)):
        found[attempt.delivery_id].append(attempt)
    return found


def resend(s: Session, endpoint_id: str, delivery_id: str) -> Delivery:
    """Send it again now, with all its attempts, whatever became of it. Conflict while the endpoint is disabled."""
    endpoints.enabled_one(s, endpoint_id)
    delivery = get(s, endpoint_id, delivery_id)
    s.refresh(delivery, with_for_update=True)
    _restart(delivery, _moment(s))
    audit.record(s, "webhook.resend", endpoint_id, after={"delivery_id": delivery.id})
    return delivery


def replay(s: Session, endpoint_id: str, after: int, limit: int = REPLAYED) -> tuple[int, int | None]:
    """Send again what was numbered behind `after` and what the endpoint wants, also what it missed while it was disabled.

    At most `limit` events at a time: how many are to be sent, and the number to go on after, if there is more. Conflict while it is disabled.
    """
    endpoint, moment, head = endpoints.enabled_one(s, endpoint_id), _moment(s), outbox.head(s)
    s.refresh(endpoint, with_for_update=True)  # two at once would plan the same
    events = outbox.between(s, after, head, limit + 1, endpoints.wanted(endpoint))
    shown = events[:limit]
    planned = {one.event_id: one for one in s.scalars(_of(endpoint_id, [event.id for event in shown]))}
    for event in shown:
        if event.id in planned:
            _restart(planned[event.id], moment)
        elif endpoints.wants(endpoint, event):
            s.add(_delivery(event, endpoint, moment))
    audit.record(s, "webhook.replay", endpoint_id, after={"after": after, "events": len(shown)})
    return len(shown), shown[-1].sequence if len(events) > limit else None


def _of(endpoint_id: str, event_ids: Sequence[str]) -> Select[Delivery]:
    return select(Delivery).where(Delivery.endpoint_id == endpoint_id, Delivery.event_id.in_(event_ids))


def _restart(delivery: Delivery, moment: datetime) -> None:
    delivery.state, delivery.attempts, delivery.due_at = DeliveryState.PENDING, 0, moment


def _attempt(delivery: Delivery, moment: datetime, took_s: float) -> Attempt:
    tried_at = moment - timedelta(seconds=took_s)
    return Attempt(
        id=ids.new("wha"), delivery_id=delivery.id, tried_at=tried_at, took_ms=round(1000 * took_s), status=delivery.status,
        error=delivery.error,
    )  # fmt: skip


def _failed(delivery: Delivery, endpoint: Endpoint, settings: Webhooks, moment: datetime) -> None:
    endpoint.failing_since = endpoint.failing_since or moment
    if delivery.status == _GONE or delivery.attempts > len(settings.retry_s):
        delivery.state = DeliveryState.DEAD
    else:
        pause = settings.retry_s[delivery.attempts - 1] * random.uniform(1, 1 + _JITTER)
        delivery.due_at = max(moment + timedelta(seconds=pause), endpoint.quiet_until or moment)
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
