"""Numbers what was committed, has later rooms plan what follows from it, and puts it into the Redis stream.

Runs in every scheduler; the lock on one row puts them in line, so numbers become visible in their order and without gaps, and a relay
that dies leaves no number and no plan behind. It looks twice a second, which costs one indexed query: nothing has to tell it, so nothing
can forget to.
"""

import importlib
from collections.abc import Callable, Sequence
from threading import Event as Flag
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import db, rounds
from streamer.events import stream
from streamer.events.tables import Event, EventHead
from streamer.services import Services

NUMBERED = ("streamer.webhooks.deliveries:plan",)
"""What later rooms do in the transaction that numbers events, by dotted path: `hook(session, events)`."""

BATCH = 200


def run(services: Services, stop: Flag) -> None:
    """Relay until told to stop."""
    rounds.until(stop, number=lambda: number_waiting(services), publish=lambda: stream.publish_missing(services))


def number_waiting(services: Services) -> int:
    """Number all that is committed and has no number; how many that were."""
    total = 0
    while _any_waiting(services):
        total += db.retrying(services, number)
    return total


def number(s: Session) -> int:
    """One batch, in the caller's transaction."""
    head = s.scalars(select(EventHead).with_for_update().execution_options(populate_existing=True)).one()
    waiting = s.scalars(select(Event).where(Event.sequence.is_(None)).order_by(Event.entry).limit(BATCH)).all()
    for sequence, event in enumerate(waiting, head.sequence + 1):
        event.sequence = sequence
    head.sequence += len(waiting)
    s.flush()
    for path in NUMBERED if waiting else ():
        _load(path)(s, waiting)
    return len(waiting)


def _any_waiting(services: Services) -> bool:
    with db.reading(services) as s:
        return s.scalar(select(Event.entry).where(Event.sequence.is_(None)).limit(1)) is not None


def _load(path: str) -> Callable[[Session, Sequence[Event]], Any]:
    module, _, name = path.partition(":")
    hook: Callable[[Session, Sequence[Event]], Any] = getattr(importlib.import_module(module), name)
    return hook
