"""What accounts hold of a person: handed out, and erased. Other rooms have a module of this name too; `membership.persons` asks them all.

    COLUMNS                  the columns that name a person, or say something about one
    export(s, user_id)       what is held, by section
    erase(s, erasure)        all of it gone, inside the caller's transaction

The row of the account stays as a tombstone without a name, for the ids that point to it.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from streamer import db, http
from streamer.accounts import audit, login_sessions, passwords, second_factor, users
from streamer.accounts.roles import Role
from streamer.accounts.tables import ApiKey, AuditEntry, IdempotencyKey, LoginSession, RecoveryCode, SecondFactor, User
from streamer.errors import Unavailable
from streamer.services import Services

COLUMNS = (
    "users.email",
    "users.name",
    "login_sessions.user_id",
    "login_sessions.address",
    "api_keys.user_id",
    "api_keys.name",
    "second_factors.user_id",
    "recovery_codes.user_id",
    "idempotency_keys.user_id",
    "audit_entries.user_id",
    "audit_entries.person_id",
    "audit_entries.address",
)

Section = tuple[str, Iterable[Mapping[str, Any]]]

_NOBODY = "Erased account"


@dataclass
class Erasure:
    """Whom. `heir_id` gets the films; without one they are deleted. `others` are further ids that stood for them, `after` is done after the commit."""

    user: User
    heir_id: str | None
    others: list[str] = field(default_factory=list)
    after: list[Callable[[Services], object]] = field(default_factory=list)


def export(s: Session, user_id: str) -> Iterable[Section]:
    """Account, sessions, keys without their secrets, and what the audit log says."""
    user = users.get(s, user_id)
    yield "account", [{**_account(user), "second_factor": second_factor.is_on(s, user_id)}]
    yield "sessions", map(_session, s.scalars(select(LoginSession).where(LoginSession.user_id == user_id)))
    yield "api_keys", map(_key, s.scalars(select(ApiKey).where(ApiKey.user_id == user_id)))
    theirs = or_(AuditEntry.user_id == user_id, AuditEntry.person_id == user_id, AuditEntry.subject_id == user_id)
    entries = s.scalars(select(AuditEntry).where(theirs).order_by(AuditEntry.sequence))
    yield "audit", (_entry(entry, user_id) for entry in entries)


def erase(s: Session, erasure: Erasure) -> None:
    """The account can never be used again; Conflict for the last active administrator."""
    user = erasure.user
    users.refuse_last_admin(s, user)
    ended = list(s.scalars(select(LoginSession.secret_sha256).where(LoginSession.user_id == user.id)))
    for table in (LoginSession, ApiKey, RecoveryCode, IdempotencyKey, SecondFactor):
        s.execute(delete(table).where(table.user_id == user.id))
    user.email, user.name, user.password_hash = f"{user.id}@erased.invalid", _NOBODY, passwords.NONE
    user.role, user.email_verified_at = Role.VIEWER, None
    user.erased_at = db.now()
    user.disabled_at = user.disabled_at or user.erased_at
    audit.erase(s, user.id, erasure.others, after={"films_to": erasure.heir_id})
    erasure.after.append(partial(_forget, digests=ended))


def _forget(services: Services, digests: list[str]) -> None:
    with suppress(Unavailable):  # a Redis that is away answers for no session; the rows are gone
        login_sessions.forget(services, digests)


def _account(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "created_at": http.time(user.created_at),
        "email_verified_at": http.time(user.email_verified_at),
        "disabled_at": http.time(user.disabled_at),
    }


def _session(row: LoginSession) -> dict[str, Any]:
    return {
        "id": row.id,
        "user_agent": row.user_agent,
        "address": row.address,
        "created_at": http.time(row.created_at),
        "last_seen_at": http.time(row.last_seen_at),
        "ended_at": http.time(row.revoked_at),
    }


def _key(row: ApiKey) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "scopes": row.scopes,
        "created_at": http.time(row.created_at),
        "last_used_at": http.time(row.last_used_at),
        "revoked_at": http.time(row.revoked_at),
    }


def _entry(entry: AuditEntry, user_id: str) -> dict[str, Any]:
    """Without what it says of others: where they acted from, and who they are."""
    told: dict[str, Any] = {**audit.document(entry)}
    hidden = {place for place in told["personal"] if place not in audit.personal_places(entry, {user_id})}
    if "address" in hidden:
        told["address"] = None
    for side in ("before", "after"):
        told[side] = {name: value for name, value in (told[side] or {}).items() if f"{side}.{name}" not in hidden}
    del told["personal"]
    return told
