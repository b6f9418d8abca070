"""A person's data as a whole: one document of all that is held, and the end of all of it.

Each room knows what it holds (see `accounts.holdings`); those that come later are named by dotted path. Films and rows of money are not a person's data
for ever: films go to an heir or are deleted, and ids stay everywhere, which say nothing once the account has no name.
"""

import importlib
import json
from collections.abc import Iterable, Iterator
from typing import Protocol, cast

from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import audit, users
from streamer.accounts.holdings import Erasure, Section
from streamer.accounts.rolebook import Held
from streamer.accounts.tables import User
from streamer.errors import Conflict
from streamer.jobs import queues
from streamer.membership import outgoing
from streamer.membership.outgoing import Kind
from streamer.services import Services

ROOMS = ("delivery", "ingest", "billing", "catalog", "membership", "accounts")
"""In the order of erasing: the account goes last."""


class Room(Protocol):
    """`streamer.<room>.holdings`."""

    COLUMNS: tuple[str, ...]

    def export(self, s: Session, user_id: str) -> Iterable[Section]: ...

    def erase(self, s: Session, erasure: Erasure) -> None: ...


def rooms() -> list[Room]:
    """All that hold anything."""
    return [cast(Room, importlib.import_module(f"streamer.{name}.holdings")) for name in ROOMS]


def export(services: Services, user_id: str) -> Iterator[str]:
    """The document, piece by piece: an object with a list for each section. That it was asked for is in the audit log."""
    db.retrying(services, lambda s: audit.record(s, "user.export", users.get(s, user_id).id))
    return _pieces(services, user_id)


def _pieces(services: Services, user_id: str) -> Iterator[str]:
    with db.reading(services) as s:
        opening = "{"
        for room in reversed(rooms()):
            for name, rows in room.export(s, user_id):
                yield f"{opening}{json.dumps(name)}: ["
                yield from _list(rows)
                yield "]"
                opening = ",\n"
    yield "}\n"


def erase(services: Services, user_id: str, *, heir_id: str | None = None, held: Held = None) -> None:
    """Erase an account for good. Conflict for the last active administrator, and for an heir who can't have the films."""

    def write(s: Session) -> Erasure:
        user = users.changeable(s, user_id, held)
        erasure = Erasure(user, _heir(s, user, heir_id).id if heir_id else None)
        goodbye = {"email": user.email, "name": user.name}
        for room in rooms():
            room.erase(s, erasure)
        letter = outgoing.post(s, Kind.ERASED, goodbye["email"], name=goodbye["name"])
        erasure.after.append(lambda services: queues.dispatch(services, [letter]))
        return erasure

    for work in db.retrying(services, write).after:
        work(services)


def _heir(s: Session, user: User, heir_id: str) -> User:
    heir = users.get(s, heir_id)
    if heir.id == user.id or heir.disabled_at is not None:
        raise Conflict("The films can go to another active account only.", code="bad_heir")
    return heir


def _list(rows: Iterable[object]) -> Iterator[str]:
    between = "\n"
    for row in rows:
        yield between + json.dumps(row, ensure_ascii=False)
        between = ",\n"
