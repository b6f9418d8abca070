"""Server-side login sessions: a random cookie value, known here only by its SHA-256, in Redis and as a row in SQL.

Redis answers each request (`login:<sha256>`, gone after the idle time). The row is the truth: when Redis has lost the
entry or is down the row is asked, and once a minute it is touched and asked whether the session was revoked.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from streamer import db, ids, retention
from streamer.accounts import audit
from streamer.accounts.tables import LoginSession
from streamer.config import Accounts
from streamer.errors import NotFound, Unavailable
from streamer.services import Services

_TOUCH_S = 60


@dataclass(frozen=True, slots=True)
class Known:
    """A live session."""

    id: str
    user_id: str
    second_factor: bool = False


def start(
    services: Services, user_id: str, *, user_agent: str, address: str, second_factor: bool = False
) -> tuple[str, str]:
    """A new session: its id and the cookie's value, which always is a new one. `second_factor`: somebody else has asked for one."""
    secret = secrets.token_urlsafe(32)
    now = db.now()
    row = LoginSession(
        id=ids.new("ses"),
        user_id=user_id,
        secret_sha256=_digest(secret),
        created_at=now,
        last_seen_at=now,
        expires_at=now + timedelta(seconds=services.config.accounts.session_max_s),
        user_agent=user_agent[:300],
        address=address[:64],
        second_factor=second_factor,
    )
    with db.session(services) as s:
        s.add(row)
        audit.record(s, "session.create", user_id, after={"session_id": row.id})
    with suppress(RedisError):  # the row is enough
        _remember(services, row)
    return row.id, secret


def find(services: Services, secret: str) -> Known | None:
    """The live session of this cookie, or None."""
    digest = _digest(secret)
    try:
        known = _recall(services, digest)
    except RedisError:
        return _touch(services, digest, remember=False)
    if known is not None and time.time() < known["touched_at"] + _TOUCH_S:
        return Known(known["id"], known["user_id"], known.get("second_factor", False))
    return _touch(services, digest, remember=True)


def entry(secret: str) -> str:
    """Redis' key for the session of this cookie; whose it is stands there."""
    return _entry(_digest(secret))


def end(services: Services, secret: str) -> None:
    """Sign this session out. Unavailable when Redis can't be told, because it would go on answering for a minute."""
    digest = _digest(secret)
    db.retrying(services, lambda s: _revoke(s, LoginSession.secret_sha256 == digest))
    forget(services, [digest])


def live(s: Session, settings: Accounts, user_id: str) -> Sequence[LoginSession]:
    """Where a user is signed in, the session used last first. The time of use is right to a minute."""
    query = select(LoginSession).where(LoginSession.user_id == user_id, *_live(settings))
    return s.scalars(query.order_by(LoginSession.last_seen_at.desc(), LoginSession.id)).all()


def end_one(services: Services, user_id: str, session_id: str) -> None:
    """Sign a user out in one place; NotFound when it is none of theirs."""
    chosen = LoginSession.user_id == user_id, LoginSession.id == (session_id if ids.is_id(session_id) else "")
    ended = db.retrying(services, lambda s: _revoke(s, *chosen))
    if not ended:
        raise NotFound("There is no such session.")
    forget(services, ended)


def end_all(services: Services, user_id: str, *, but: str | None = None) -> None:
    """Sign a user out everywhere, `but` in the session with this id."""
    forget(services, db.retrying(services, lambda s: revoke_all(s, user_id, but=but)))


def revoke_all(s: Session, user_id: str, *, but: str | None = None) -> list[str]:
    """The same inside the caller's transaction; what it answers is to be forgotten by Redis after the commit (`forget`)."""
    return _revoke(s, LoginSession.user_id == user_id, LoginSession.id != (but or ""))


def forget(services: Services, digests: list[str]) -> None:
    """Take ended sessions out of Redis; Unavailable when it can't be told, because they would go on answering for a minute."""
    try:
        if digests:
            services.kv_sync.delete(*map(_entry, digests))
    except RedisError as error:
        raise Unavailable("Signing out is not complete yet; try again in a moment.") from error


def purge(services: Services) -> int:
    """A chore: remove sessions that were over long ago, with the address and the browser they were from; how many that were."""
    until = retention.before(services.config.retention.sessions_days)
    return retention.purge(services, LoginSession.id, LoginSession.expires_at, until)


def _revoke(s: Session, *which: ColumnElement[bool]) -> list[str]:
    live = *which, LoginSession.revoked_at.is_(None)
    rows = s.scalars(select(LoginSession).where(*live)).all()
    s.execute(update(LoginSession).where(*live).values(revoked_at=db.now()))
    for user_id in {row.user_id for row in rows}:
        ended = [row.id for row in rows if row.user_id == user_id]
        audit.record(s, "session.end", user_id, before={"session_ids": ended})
    return [row.secret_sha256 for row in rows]


def _live(settings: Accounts) -> tuple[ColumnElement[bool], ...]:
    now = db.now()
    return (
        LoginSession.revoked_at.is_(None),
        LoginSession.expires_at > now,
        LoginSession.last_seen_at > now - timedelta(seconds=settings.session_idle_s),
    )


def _touch(services: Services, digest: str, *, remember: bool) -> Known | None:
    """Ask the row, and note in it and in Redis that the session is in use."""
    now = db.now()
    live = LoginSession.secret_sha256 == digest, *_live(services.config.accounts)
    with db.reading(services) as s:
        row = s.scalar(select(LoginSession).where(*live))
    if row is None:
        return None
    if now - row.last_seen_at > timedelta(seconds=_TOUCH_S):
        with db.session(services) as s:
            s.execute(update(LoginSession).where(*live).values(last_seen_at=now))
    if remember:
        with suppress(RedisError):
            _remember(services, row)
    return Known(row.id, row.user_id, row.second_factor)


def _remember(services: Services, row: LoginSession) -> None:
    facts = {"id": row.id, "user_id": row.user_id, "second_factor": row.second_factor, "touched_at": time.time()}
    left = _seconds_left(row.expires_at)
    ttl = min(services.config.accounts.session_idle_s, left)
    services.kv_sync.set(_entry(row.secret_sha256), json.dumps(facts), ex=max(1, ttl))


def _recall(services: Services, digest: str) -> dict[str, Any] | None:
    text = services.kv_sync.get(_entry(digest))
    facts: dict[str, Any] | None = json.loads(text) if text else None
    return facts


def _entry(digest: str) -> str:
    return f"login:{digest}"


def _seconds_left(expires_at: datetime) -> int:
    return int((expires_at - db.now()).total_seconds())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
