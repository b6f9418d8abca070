"""People: made by an administrator or the command line, found by id, e-mail address or name, disabled, and erased down to a row without a name.

Whoever changes an account may do all that it may do, before and afterwards: see `rolebook` for `held`. All functions work inside the caller's
transaction.
"""

import re
from collections.abc import Iterable

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from streamer import db, ids
from streamer.accounts import audit, passwords, rolebook
from streamer.accounts.rolebook import Held
from streamer.accounts.roles import Role
from streamer.accounts.tables import User
from streamer.config import Accounts
from streamer.errors import Conflict, Forbidden, Invalid, NotFound

_EMAIL = re.compile(
    r"[^@\s\"(),:;<>\[\\\]]+@[^@\s\"(),:;<>\[\\\]]+"
)  # what the header of a letter could read as more than one is none


def create(s: Session, config: Accounts, *, email: str, name: str, role: str, password: str, held: Held = None) -> User:
    """A new account; Conflict when the address is taken, Invalid when a field can't be used, Forbidden when the role is too much to give."""
    address, called = clean_address(email), clean_name(name)
    rolebook.check_gift(s, role, held)
    return add(s, email=address, name=called, role=role, password_hash=passwords.hash_password(config, password))


def add(s: Session, *, email: str, name: str, role: str, password_hash: str, verified: bool = False) -> User:
    """The row of a new account, from fields that were looked at before; Conflict when the address is taken."""
    now = db.now()
    user = User(
        id=ids.new("usr"),
        email=email,
        name=name,
        password_hash=password_hash,
        role=role,
        created_at=now,
        email_verified_at=now if verified else None,
    )
    s.add(user)
    try:
        s.flush()
    except IntegrityError:
        raise Conflict(f"There is an account for {email} already.", code="email_taken") from None
    audit.record(
        s, "user.create", user.id, after={"email": email, "name": name, "role": role}, by=user.id, person=user.id
    )
    return user


def get(s: Session, user_id: str) -> User:
    """The account with this id, or NotFound, also for one that was erased."""
    user = s.get(User, user_id) if ids.is_id(user_id) else None
    if user is None or user.erased_at is not None:
        raise NotFound(f"There is no user {user_id[:40]}.")
    return user


def find(s: Session, who: str) -> User:
    """The account with this id, e-mail address or name; NotFound when there is none, Conflict when several have the name."""
    by_id = [(User.id, who)] if ids.is_id(who) else []
    for column, value in (*by_id, (User.email, who.strip().casefold()), (User.name, who)):
        found = s.scalars(listed().where(column == value).limit(2)).all()
        if len(found) > 1:
            raise Conflict(f"Several users are called {who}; give the e-mail address.", code="ambiguous")
        if found:
            return found[0]
    raise NotFound(f"There is no user {who}.")


def listed() -> Select[User]:
    """Everybody, without those who were erased."""
    return select(User).where(User.erased_at.is_(None))


def names(s: Session, user_ids: Iterable[str]) -> dict[str, str]:
    """What these people are called, by id."""
    found = select(User.id, User.name).where(User.id.in_(set(user_ids)))
    return {user_id: name for user_id, name in s.execute(found)}


def changeable(s: Session, user_id: str, held: Held) -> User:
    """The account, if whoever acts may do all that it may; else Forbidden."""
    user = get(s, user_id)
    if held is not None and not rolebook.permissions(s, user.role) <= set(held):
        raise Forbidden(
            "This person may do more than you, so their account is not yours to change. An administrator can change it.",
            code="more_than_own",
        )
    return user


def set_disabled(s: Session, user_id: str, disabled: bool, held: Held = None, by: str | None = None) -> User:
    """Shut an account out or let it in again. Conflict for the last active administrator, and for one's own (`by` is who does it)."""
    user = changeable(s, user_id, held)
    if disabled:
        refuse_last_admin(s, user)
        _refuse_own(user, by, "shut you out")
    before = user.disabled_at is not None
    user.disabled_at = (user.disabled_at or db.now()) if disabled else None
    audit.record(
        s,
        "user.disable" if disabled else "user.enable",
        user.id,
        before={"disabled": before},
        after={"disabled": disabled},
    )
    return user


def set_role(s: Session, user_id: str, role: str, held: Held = None, by: str | None = None) -> User:
    """Another role, from the next request on. Conflict for the last active administrator, and for one's own role (`by` is who does it)."""
    user = changeable(s, user_id, held)
    rolebook.check_gift(s, role, held)
    if role != Role.ADMIN:
        refuse_last_admin(s, user)
    if role != user.role:
        _refuse_own(user, by, "give you another role")
    before, user.role = user.role, role
    audit.record(s, "user.role", user.id, before={"role": before}, after={"role": role})
    return user


def set_password(s: Session, user: User, password_hash: str) -> User:
    """Another password. Whoever calls this ends the sessions of the account."""
    user.password_hash = password_hash
    audit.record(s, "user.password", user.id, by=user.id)
    return user


def any_exist(s: Session) -> bool:
    """Whether there is an account at all; the sign-in page says what to do when there is none."""
    return s.scalar(select(User.id).where(User.erased_at.is_(None)).limit(1)) is not None


def with_address(s: Session, email: str) -> User | None:
    """The active account that has this address."""
    return s.scalars(select(User).where(User.email == email, User.disabled_at.is_(None))).one_or_none()


def clean_address(email: str) -> str:
    """The address as it is stored, or Invalid."""
    address = email.strip().casefold()
    if len(address) > 254 or not _EMAIL.fullmatch(address) or not address.isprintable():
        raise _invalid("email", "is not an e-mail address")
    return address


def clean_name(name: str) -> str:
    """The name as it is stored, or Invalid."""
    if not 1 <= len(name.strip()) <= 200 or not name.strip().isprintable():
        raise _invalid("name", "must have 1 to 200 characters, on one line")
    return name.strip()


def refuse_last_admin(s: Session, user: User) -> None:
    """Conflict when without this account nobody could administer anything. `user` is read anew."""
    # Locked: two administrators who shut each other out at once must not both succeed.
    active = select(User.id).where(User.role == Role.ADMIN, User.disabled_at.is_(None)).with_for_update()
    admins = s.scalars(active).all()
    s.refresh(user)  # they may have become one since they were looked up
    if user.id in admins and len(admins) == 1:
        raise Conflict(
            "This is the last active administrator. Make somebody else an administrator first.", code="last_admin"
        )


def _refuse_own(user: User, by: str | None, what: str) -> None:
    """Nobody locks themselves out by a slip, or has a script of theirs do it."""
    if user.id == by:
        raise Conflict(f"This is your own account. Another administrator can {what}.", code="own_account")


def _invalid(field: str, detail: str) -> Invalid:
    return Invalid(f"The {field} {detail}.", errors=[{"pointer": f"/{field}", "detail": detail}])
