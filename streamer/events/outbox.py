"""The outbox: events written in the transaction of the change they tell of, and read in the order of their numbers.

A number taken while writing would lie: transactions commit out of order, so a reader that has seen 8 would never see a 7 that was
committed later. So rows are written without one, and `relay` numbers what it finds committed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from typing_extensions import TypedDict

from streamer import db, ids
from streamer.events.tables import Event, EventHead
from streamer.events.types import EventType
from streamer.operations import Id, Time
from streamer.services import Services

_PURGED = 1000


class EventDocument(TypedDict):
    """What happened; `data` is its subject as the API shows it, at that moment."""

    id: Id
    sequence: int | None
    type: str
    timestamp: Time
    subject_id: str
    data: dict[str, Any]


def record(s: Session, kind: EventType, subject_id: str, data: Mapping[str, Any]) -> Event:
    """Something happened, if the caller's transaction is committed. `data` is small: the subject as the API shows it."""
    event = Event(id=ids.new("evt"), type=kind, subject_id=subject_id, data=dict(data), created_at=db.now())
    s.add(event)
    return event


def between(s: Session, after: int, until: int, limit: int, types: Sequence[str] = ()) -> Sequence[Event]:
    """The first events behind the number `after`, up to and with `until`, oldest first."""
    query = select(Event).where(Event.sequence > after, Event.sequence <= until)
    if types:
        query = query.where(Event.type.in_(types))
    return s.scalars(query.order_by(Event.sequence).limit(limit)).all()


def types(s: Session, event_ids: Sequence[str]) -> dict[str, str]:
    """What happened, by the events' ids."""
    found = select(Event.id, Event.type).where(Event.id.in_(event_ids))
    return {event_id: kind for event_id, kind in s.execute(found)}


def number_before(s: Session, moment: datetime) -> int:
    """The number after which to read for all that was written at that time or later."""
    first = s.scalar(select(func.min(Event.sequence)).where(Event.created_at >= moment))
    return head(s) if first is None else first - 1


def head(s: Session) -> int:
    """The last number given; 0 before the first event."""
    return s.scalars(select(EventHead.sequence)).one()


def first_kept(s: Session) -> int:
    """The number of the oldest event there is, or of the next one when there is none."""
    oldest = s.scalar(select(func.min(Event.sequence)))
    return head(s) + 1 if oldest is None else oldest


def document(event: Event) -> EventDocument:
    """An event as the API, the stream and webhooks show it."""
    return {
        "id": event.id,
        "sequence": event.sequence,
        "type": event.type,
        "timestamp": event.created_at.isoformat(),
        "subject_id": event.subject_id,
        "data": event.data,
    }


def purge(services: Services) -> int:
    """A chore: remove numbered events older than `events.keep_s`, from the oldest on, with what hangs on them; how many that were."""
    until = db.now() - timedelta(seconds=services.config.events.keep_s)
    with db.reading(services) as s:
        if s.scalar(select(Event.entry).where(Event.created_at < until).limit(1)) is None:
            return 0
        old = s.scalars(_before(s, until)).all()
    for at in range(0, len(old), _PURGED // 10):
        some = old[at : at + _PURGED // 10]
        db.retrying(services, lambda s, some=some: s.execute(delete(Event).where(Event.entry.in_(some))))  # type: ignore[misc]
    return len(old)


def _before(s: Session, until: datetime) -> Any:
    """All below the first that is young enough, so that what is kept has no gap."""
    kept = s.scalar(select(func.min(Event.sequence)).where(Event.created_at >= until))
    query = select(Event.entry).where(Event.sequence <= head(s) if kept is None else Event.sequence < kept)
    return query.order_by(Event.sequence).limit(_PURGED)
