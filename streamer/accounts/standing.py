"""What an account is and may do at this moment, as the request of a key or a session asks it: kept until something of it changes.

A key that is revoked, a role that loses a permission, an account that is shut out: the next request knows (see `streamer.cache`).
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from streamer import cache, db
from streamer.accounts import apikeys, rolebook, second_factor
from streamer.accounts.roles import Permission, understood
from streamer.accounts.tables import User
from streamer.config import Accounts
from streamer.services import Services

_OWNERS: dict[str, str] = {}  # of keys, by their digest; a key never changes hands
_MOST_OWNERS = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """An account that is not shut out; `second_factor` says whether it has one."""

    user_id: str
    email: str
    name: str
    role: str
    permissions: frozenset[Permission]
    second_factor: bool

    def owes_second_factor(self, settings: Accounts) -> bool:
        """Whether the role asks for one that is not there."""
        return self.role in settings.second_factor_roles and not self.second_factor


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """A key in force, its owner, and what it may do; `narrowed` if that is less than its owner may."""

    owner: Standing
    key_id: str
    permissions: frozenset[Permission]
    narrowed: bool
    last_used_at: datetime | None


def of(services: Services, user_id: str) -> Standing | None:
    """The account, None when it is gone or shut out."""

    def make() -> tuple[str, bool]:
        with db.reading(services) as s:
            user = s.get(User, user_id)
            return json.dumps(_document(s, user) if user and user.disabled_at is None else None), True

    text, _ = services.cache.text("accounts", user_id, cache.rows("people", user_id), make)
    known = json.loads(text)
    return _standing(known) if known else None


def by_key(services: Services, secret: str) -> KeyStanding | None:
    """The key with this secret, None when it is unknown, revoked, or of a disabled account."""
    digest = apikeys.digest(secret)
    owner_id = _OWNERS.get(digest)
    if owner_id is None:
        return _key_standing(_find(services, secret))
    tags = cache.rows("people", owner_id)
    text, _ = services.cache.text("keys", digest, tags, lambda: (json.dumps(_find(services, secret)), True))
    return _key_standing(json.loads(text))


def note_use(services: Services, secret: str, key: KeyStanding) -> None:
    """Remember that the key was used now, if that was not noted just before."""
    if apikeys.is_stale(key.last_used_at):
        db.retrying(services, lambda s: apikeys.note_use(s, key.key_id))
        services.cache.forget("keys", apikeys.digest(secret))
        apikeys.make_known(services, secret, key.owner.user_id)


def _find(services: Services, secret: str) -> dict[str, Any] | None:
    with db.reading(services) as s:
        found = apikeys.find(s, secret)
        if found is None:
            return None
        key, user = found
        _remember_owner(key.secret_sha256, user.id)
        granted, narrowed = apikeys.grants(s, key, user.role)
        used = key.last_used_at.isoformat() if key.last_used_at else None
        return {**_document(s, user), "key": [key.id, sorted(granted), narrowed, used]}


def _remember_owner(digest: str, user_id: str) -> None:
    if len(_OWNERS) >= _MOST_OWNERS:
        _OWNERS.clear()
    _OWNERS[digest] = user_id


def _document(s: Session, user: User) -> dict[str, Any]:
    return {
        "account": [user.id, user.email, user.name, user.role],
        "permissions": sorted(rolebook.permissions(s, user.role)),
        "second_factor": second_factor.is_on(s, user.id),
    }


def _standing(known: dict[str, Any]) -> Standing:
    user_id, email, name, role = known["account"]
    return Standing(user_id, email, name, role, understood(known["permissions"]), known["second_factor"])


def _key_standing(known: dict[str, Any] | None) -> KeyStanding | None:
    if known is None:
        return None
    key_id, granted, narrowed, used = known["key"]
    return KeyStanding(
        _standing(known), key_id, understood(granted), narrowed, datetime.fromisoformat(used) if used else None
    )
