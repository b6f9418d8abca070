"""The audit log: who changed what, from where, written in the transaction of the change itself, each entry chained to the one before.

    audit.record(s, "user.role", user.id, before={"role": "viewer"}, after={"role": "editor"})

An entry's hash is SHA-256 over the hash before it and its own canonical JSON, so nothing can be altered, left out or put in between without every later hash
being wrong (`verify`). Whoever can write to the database can also make a new chain: keep the last hash somewhere else. Who acts is known from the request
(`acting`, set by `logins`); outside of any it is the command line. Passwords and tokens are never in it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from structlog.contextvars import get_contextvars
from typing_extensions import TypedDict

from streamer import db, ids
from streamer.accounts.tables import AuditEntry, AuditHead
from streamer.operations import Id, Time

START = "0" * 64
"""The hash before the first entry."""

_BATCH = 500
_SECRET = ("password", "secret", "token", "hash", "code")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: an account by its session or by a key, somebody with a link from a letter, or the command line."""

    way: str = "command_line"
    user_id: str | None = None
    key_id: str | None = None
    address: str | None = None


_COMMAND_LINE = Actor()
_actor: ContextVar[Actor] = ContextVar("actor")


class Content(TypedDict):
    """What an entry says; `way` is session, key, link or command_line."""

    sequence: int
    id: Id
    at: Time
    way: str
    user_id: str | None
    key_id: str | None
    address: str | None
    request_id: str | None
    action: str
    subject_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class EntryDocument(Content):
    """An entry with its hash, which holds the one before."""

    hash: str


class Broken(Exception):
    """The chain does not hold; the text says where."""


def acting(actor: Actor) -> None:
    """From here on in this request, changes are theirs."""
    _actor.set(actor)


def record(
    s: Session,
    action: str,
    subject_id: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    by: str | None = None,
) -> None:
    """Append an entry, if the caller's transaction is committed. `by` is whose account it is, for those who come by a link."""
    actor = _actor.get(_COMMAND_LINE)
    if by is not None and actor.way == "link":
        actor = replace(actor, user_id=by)
    head = s.scalars(select(AuditHead).with_for_update().execution_options(populate_existing=True)).one()
    entry = AuditEntry(
        sequence=head.sequence + 1,
        id=ids.new("aud"),
        at=db.now(),
        way=actor.way,
        user_id=actor.user_id,
        key_id=actor.key_id,
        address=actor.address,
        request_id=get_contextvars().get("request_id"),
        action=action,
        subject_id=subject_id,
        before=_clean(before),
        after=_clean(after),
    )
    entry.hash = _hash(head.hash, entry)
    head.sequence, head.hash = entry.sequence, entry.hash
    s.add(entry)
    s.flush()


def after(s: Session, sequence: int, limit: int = _BATCH) -> Sequence[AuditEntry]:
    """The entries behind that number, oldest first."""
    return s.scalars(
        select(AuditEntry).where(AuditEntry.sequence > sequence).order_by(AuditEntry.sequence).limit(limit)
    ).all()


def walk(source: db.HasEngine) -> Iterator[AuditEntry]:
    """All entries, oldest first, in many short transactions."""
    last = 0
    while True:
        with db.reading(source) as s:
            batch = after(s, last)
        yield from batch
        if not batch:
            return
        last = batch[-1].sequence


def verify(source: db.HasEngine) -> tuple[int, str]:
    """How many entries there are, and the last hash; Broken at the first that is not what was written."""
    with db.reading(source) as s:
        head = s.scalars(select(AuditHead)).one()
    last, chained = 0, START
    for entry in walk(source):
        if entry.sequence != last + 1:
            raise Broken(f"Entry {last + 1} is missing.")
        if entry.hash != _hash(chained, entry):
            raise Broken(f"Entry {entry.sequence} is not what was written, or one before it was taken out.")
        last, chained = entry.sequence, entry.hash
        if last == head.sequence and chained != head.hash:
            raise Broken(f"Entry {last} is not the one that was written last.")
    if last < head.sequence:
        raise Broken(f"Entries {last + 1} to {head.sequence} are missing.")
    return last, chained


def document(entry: AuditEntry) -> EntryDocument:
    """An entry as the API and the export show it; without its hash it is what the hash is taken of."""
    return {**_content(entry), "hash": entry.hash}


def _hash(previous: str, entry: AuditEntry) -> str:
    text = json.dumps(_content(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def _content(entry: AuditEntry) -> Content:
    return {
        "sequence": entry.sequence,
        "id": entry.id,
        "at": entry.at.isoformat(timespec="microseconds"),
        "way": entry.way,
        "user_id": entry.user_id,
        "key_id": entry.key_id,
        "address": entry.address,
        "request_id": entry.request_id,
        "action": entry.action,
        "subject_id": entry.subject_id,
        "before": entry.before,
        "after": entry.after,
    }


def _clean(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Without what must not be there, should a caller ever hand it over."""
    if facts is None:
        return None
    return {name: "[removed]" if any(word in name for word in _SECRET) else value for name, value in facts.items()}
