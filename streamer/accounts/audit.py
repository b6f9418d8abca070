"""The audit log: who changed what, from where, written in the transaction of the change itself, each entry chained to the one before.

    audit.record(s, "user.role", user.id, before={"role": "viewer"}, after={"role": "editor"})

An entry's hash is SHA-256 over the hash before it and its own canonical JSON, so nothing can be altered, left out or put in between without every later hash
being wrong (`audit_chain`). Whoever can write to the database can also make a new chain: keep the last hash somewhere else. Who acts is known from the request
(`acting`, set by `logins`) or from the command line; otherwise it is the server itself. Passwords and tokens are never in it. Personal values can be
erased: see `personal`.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session
from structlog.contextvars import get_contextvars
from typing_extensions import TypedDict

from streamer import db, ids
from streamer.accounts import personal
from streamer.accounts.tables import AuditEntry, AuditHead
from streamer.operations import Id, Time

ERASED = "user.erase"
"""The action that says whose personal values are gone; `also` has the other ids they had."""
FORGOTTEN = "audit.forget"
"""The action that says up to which entry addresses are gone, because they are old (`audit_age`)."""
UNKNOWN = "unknown"
"""The subject of what was tried with an account that there is not."""

_PENDING = "audit"
_SECRET = ("password", "secret", "token", "hash", "code")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `way`: an account by its `session` or by a `key`, a `visitor` who is not signed in but may have a `link` from a letter, the
    `command_line`, or the `server` by itself."""

    way: str = "server"
    user_id: str | None = None
    key_id: str | None = None
    address: str | None = None


_SERVER = Actor()
_actor: ContextVar[Actor] = ContextVar("actor")


class Content(TypedDict):
    """What an entry says; `way` is session, key, link, visitor, command_line or server."""

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
    person_id: str | None


class EntryDocument(Content):
    """An entry with its hash, which holds the one before; `personal` has the salts of the values that can be erased, null where they were."""

    personal: dict[str, str | None]
    hash: str


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
    person: str | None = None,
) -> None:
    """Append an entry, if the caller's transaction is committed. `by` is whose account it is, for those who come by a link.

    `person` (a user's id, or that of what stands for somebody without an account) is whose e-mail address, name or title is in `before` and `after`.
    """
    actor = _actor.get(_SERVER)
    if by is not None and actor.way == "visitor":
        actor = replace(actor, way="link", user_id=by)
    pending: list[AuditEntry] | None = s.info.get(_PENDING)
    if pending is None:
        pending = s.info[_PENDING] = []
        db.at_end(s, _append)
    pending.append(_entry(actor, action, subject_id, _clean(before), _clean(after), person))


def erase(s: Session, user_id: str, others: Collection[str], after: Mapping[str, Any]) -> None:
    """Forget the personal values of a person, who also had the ids `others`; that they were erased is an entry. Entries stay, with their hashes."""
    record(s, ERASED, user_id, after={**after, "also": sorted(others)})
    db.at_end(s, lambda s: _forget(s, {user_id, *others}))  # behind the entries of this very transaction


def personal_places(entry: AuditEntry, persons: Collection[str]) -> set[str]:
    """Which of its personal values are theirs: the address is whoever's acted, the rest whoever's the entry is about."""
    acted = (entry.user_id or entry.person_id) in persons
    about = entry.person_id in persons
    return {place for place in entry.personal or {} if (acted if place == personal.ADDRESS else about)}


def document(entry: AuditEntry) -> EntryDocument:
    """An entry as the API and the export show it, with the salts that whoever checks its hash needs."""
    kept = entry.personal or {}
    shown = _content(entry)
    shown["address"] = personal.value_of(kept, personal.ADDRESS, entry.address)
    shown["before"] = personal.reveal(kept, "before", entry.before)
    shown["after"] = personal.reveal(kept, "after", entry.after)
    return {**shown, "personal": personal.salts(kept), "hash": entry.hash}


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
        "person_id": entry.person_id,
    }


def hash_of(previous: str, entry: AuditEntry) -> str:
    """The hash of an entry after the one with that hash."""
    hashed: dict[str, Any] = {**_content(entry)}
    if entry.personal is None:  # from before anything could be erased
        del hashed["person_id"]
    else:
        hashed["personal"] = sorted(entry.personal)
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def _append(s: Session) -> None:
    """All entries of the transaction, as its last act: everybody who changes anything waits for this row."""
    head = s.scalars(select(AuditHead).with_for_update().execution_options(populate_existing=True)).one()
    for entry in s.info.pop(_PENDING):
        entry.sequence = head.sequence + 1
        entry.hash = hash_of(head.hash, entry)
        head.sequence, head.hash = entry.sequence, entry.hash
        s.add(entry)
    s.flush()


def _forget(s: Session, persons: Collection[str]) -> None:
    theirs = or_(AuditEntry.user_id.in_(persons), AuditEntry.person_id.in_(persons))
    for entry in s.scalars(select(AuditEntry).where(theirs)).all():
        places = personal_places(entry, persons)
        entry.personal = {place: None if place in places else kept for place, kept in (entry.personal or {}).items()}


def _entry(
    actor: Actor,
    action: str,
    subject_id: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    person: str | None,
) -> AuditEntry:
    kept: personal.Kept = {}
    if person is not None:
        before, after = personal.conceal(kept, "before", before), personal.conceal(kept, "after", after)
    address = personal.commit(kept, personal.ADDRESS, actor.address) if actor.address else None
    return AuditEntry(
        id=ids.new("aud"),
        at=db.now(),
        way=actor.way,
        user_id=actor.user_id,
        key_id=actor.key_id,
        address=address,
        request_id=get_contextvars().get("request_id"),
        action=action,
        subject_id=subject_id,
        person_id=person,
        before=before,
        after=after,
        personal=kept,
    )


def _clean(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Without what must not be there, should a caller ever hand it over."""
    if facts is None:
        return None
    return {name: "[removed]" if any(word in name for word in _SECRET) else value for name, value in facts.items()}
