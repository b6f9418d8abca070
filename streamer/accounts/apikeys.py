"""Bearer keys: `sk_` and 256 random bits, shown once and stored as SHA-256 (a slow hash adds nothing to that much chance)."""

import hashlib
import json
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from redis.exceptions import RedisError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from streamer import cache, db, ids
from streamer.accounts import audit, rolebook
from streamer.accounts.roles import Permission, understood
from streamer.accounts.tables import ApiKey, User
from streamer.errors import Invalid, NotFound
from streamer.services import Services

EVERYTHING = "*"
"""The scope that narrows nothing: the key may do what its owner's role may."""

_PREFIX = "sk_"
_SEEN_EVERY = timedelta(minutes=1)
_KNOWN_S = 150  # longer than a key in use goes unnoted, and so short that a revoked one is soon a stranger


def issue(s: Session, user: User, *, name: str, scopes: Iterable[str] = (EVERYTHING,)) -> tuple[ApiKey, str]:
    """A new key of this user: the row, and the secret, which nobody can see again. Forbidden for scopes that the user's role does not have."""
    wanted = list(dict.fromkeys(scopes))
    if unknown := [scope for scope in wanted if scope != EVERYTHING and not understood([scope])]:
        detail = f"has {', '.join(sorted(unknown))[:200]}, which is no permission; those there are have names such as {Permission.ASSETS_READ}"
        raise Invalid(f"The list of scopes {detail}.", errors=[{"pointer": "/scopes", "detail": detail}])
    held = rolebook.permissions(s, user.role)
    rolebook.refuse_excess(understood(wanted), held, f"These scopes are more than the role {user.role} has", "/scopes")
    secret = _PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        id=ids.new("key"),
        user_id=user.id,
        name=name.strip()[:200] or "key",
        secret_sha256=digest(secret),
        scopes=[EVERYTHING] if EVERYTHING in wanted else sorted(understood(wanted)),
        created_at=db.now(),
    )
    s.add(key)
    s.flush()
    audit.record(
        s, "api_key.create", key.id, after={"user_id": user.id, "name": key.name, "scopes": key.scopes}, person=user.id
    )
    return key, secret


def find(s: Session, secret: str) -> tuple[ApiKey, User] | None:
    """The live key with this secret and its owner; None for unknown, revoked, or of a disabled account."""
    query = (
        select(ApiKey, User)
        .join(User, User.id == ApiKey.user_id)
        .where(ApiKey.secret_sha256 == digest(secret), ApiKey.revoked_at.is_(None), User.disabled_at.is_(None))
    )
    row = s.execute(query).first()
    return (row[0], row[1]) if row else None


def grants(s: Session, key: ApiKey, role: str) -> tuple[frozenset[Permission], bool]:
    """What the key may do: its scopes, and never more than the role may now; and whether that is less than the role."""
    allowed = rolebook.permissions(s, role)
    granted = allowed if EVERYTHING in key.scopes else allowed & understood(key.scopes)
    return granted, granted != allowed


def is_stale(last_used_at: datetime | None) -> bool:
    """Whether it is time to note a key's use again (once a minute: a busy key must not write at each request)."""
    return last_used_at is None or db.now() - last_used_at > _SEEN_EVERY


def note_use(s: Session, key_id: str) -> None:
    """Remember that the key was used now."""
    s.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=db.now()), execution_options=cache.unseen())


def entry(secret: str) -> str:
    """Redis' key for a secret that was found good lately; whose it is stands there, for counting."""
    return f"api-key:{digest(secret)}"


def make_known(services: Services, secret: str, user_id: str) -> None:
    """Tell Redis whose key this is. Nothing depends on it but whose requests are counted."""
    with suppress(RedisError):
        services.kv_sync.set(entry(secret), json.dumps({"user_id": user_id}), ex=_KNOWN_S)


def revoke(s: Session, key_id: str, *, owner_id: str | None) -> None:
    """End a key at once; NotFound unless it is `owner_id`'s (None: anyone's). Revoking twice is fine."""
    key = s.get(ApiKey, key_id) if ids.is_id(key_id) else None
    if key is None or (owner_id is not None and key.user_id != owner_id):
        raise NotFound(f"There is no API key {key_id[:40]}.")
    if key.revoked_at is None:
        key.revoked_at = db.now()
        audit.record(s, "api_key.revoke", key.id, before={"user_id": key.user_id, "name": key.name}, person=key.user_id)


def digest(secret: str) -> str:
    """What is stored of the secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
