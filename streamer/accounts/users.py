"""People: made by an administrator or the command line, found by id, e-mail address or name, disabled but never removed.

All functions work inside the caller's transaction.
"""

import re
from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from streamer import db, ids
from streamer.accounts import passwords
from streamer.accounts.roles import Role
from streamer.accounts.tables import User
from streamer.config import Accounts
from streamer.errors import Conflict, Invalid, NotFound

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def create(s: Session, config: Accounts, *, email: str, name: str, role: str, password: str) -> User:
    """A new account; Conflict when the address is taken, Invalid when a field can't be used."""
    address = _address(email)
    if role not in set(Role):
        raise _invalid("role", f"must be one of {', '.join(Role)}")
    if not 1 <= len(name.strip()) <= 200:
        raise _invalid("name", "must have 1 to 200 characters")
    user = User(
        id=ids.new("usr"),
        email=address,
        name=name.strip(),
        password_hash=passwords.hash_password(config, password),
        role=role,
        created_at=db.now(),
    )
    s.add(user)
    try:
        s.flush()
    except IntegrityError:
        raise Conflict(f"There is an account for {address} already.", code="email_taken") from None
    return user


def get(s: Session, user_id: str) -> User:
    """The account with this id, or NotFound."""
    user = s.get(User, user_id) if ids.is_id(user_id) else None
    if user is None:
        raise NotFound(f"There is no user {user_id[:40]}.")
    return user


def find(s: Session, who: str) -> User:
    """The account with this id, e-mail address or name; NotFound when there is none, Conflict when several have the name."""
    by_id = [(User.id, who)] if ids.is_id(who) else []
    for column, value in (*by_id, (User.email, who.strip().casefold()), (User.name, who)):
        found = s.scalars(select(User).where(column == value).limit(2)).all()
        if len(found) > 1:
            raise Conflict(f"Several users are called {who}; give the e-mail address.", code="ambiguous")
        if found:
            return found[0]
    raise NotFound(f"There is no user {who}.")


def names(s: Session, user_ids: Iterable[str]) -> dict[str, str]:
    """What these people are called, by id."""
    found = select(User.id, User.name).where(User.id.in_(set(user_ids)))
    return {user_id: name for user_id, name in s.execute(found)}


def set_disabled(s: Session, user_id: str, disabled: bool) -> User:
    """Shut an account out or let it in again; the last active administrator can't be shut out."""
    user = get(s, user_id)
    if disabled and user.role == Role.ADMIN and _active_admins(s) == 1 and user.disabled_at is None:
        raise Conflict("This is the last active administrator.", code="last_admin")
    user.disabled_at = (user.disabled_at or db.now()) if disabled else None
    return user


def any_exist(s: Session) -> bool:
    """Whether there is an account at all; the sign-in page says what to do when there is none."""
    return s.scalar(select(User.id).limit(1)) is not None


def _active_admins(s: Session) -> int:
    query = select(func.count()).select_from(User).where(User.role == Role.ADMIN, User.disabled_at.is_(None))
    return s.scalar(query) or 0


def _address(email: str) -> str:
    address = email.strip().casefold()
    if len(address) > 254 or not _EMAIL.fullmatch(address):
        raise _invalid("email", "is not an e-mail address")
    return address


def _invalid(field: str, detail: str) -> Invalid:
    return Invalid(f"The {field} {detail}.", errors=[{"pointer": f"/{field}", "detail": detail}])
