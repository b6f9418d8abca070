"""All roles there are: those that are built in, and those that were made here. Nobody hands out more than they have themselves.

`held` is what whoever acts may do, by the way they came in; None is the command line, which may do everything. All functions work inside the
caller's transaction. Changing a role changes what everybody with it may do, from their next request on.
"""

import importlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ScalarSelect, func, literal, select, union_all
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import audit
from streamer.accounts.roles import PERMISSIONS, Permission, Role, in_words, understood
from streamer.accounts.tables import CustomRole, User
from streamer.errors import Conflict, Forbidden, Invalid, NotFound

Held = Collection[Permission] | None

AFTER_DELETE = ("streamer.catalog.grants:forget_role",)
"""What later rooms do in the transaction that deletes a role, by dotted path: `hook(session, name)`."""

COUNTED = 1000
_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A role as it is now; `people` have it, of whom at most COUNTED are counted."""

    name: str
    permissions: frozenset[Permission]
    built_in: bool
    people: int = 0


def permissions(s: Session, role: str) -> frozenset[Permission]:
    """The rights of a role; none for a name that is not one."""
    if role in PERMISSIONS:
        return PERMISSIONS[role]
    row = s.get(CustomRole, role)
    return understood(row.permissions) if row else frozenset()


def entries(s: Session) -> Sequence[Entry]:
    """Every role: built-in ones from the strongest on, then the others by name."""
    fixed = [Entry(role, PERMISSIONS[role], True) for role in Role]
    made = s.scalars(select(CustomRole).order_by(CustomRole.name))
    return fixed + [Entry(row.name, understood(row.permissions), False) for row in made]


def counted(s: Session) -> Sequence[Entry]:
    """The same, with how many people have each. In one query, which costs no more on a site with very many."""
    known = entries(s)
    each = [select(literal(one.name), _number(one.name)) for one in known]
    people = {role: number for role, number in s.execute(union_all(*each))}
    return [replace(one, people=people[one.name]) for one in known]


def entry(s: Session, name: str) -> Entry:
    """One of them, or NotFound."""
    found = next((one for one in counted(s) if one.name == name), None)
    if found is None:
        raise NotFound(f"There is no role {name[:40]}.")
    return found


def choices(s: Session, held: Held) -> list[tuple[str, str]]:
    """The roles that may be given, with what pages call them."""
    giveable = [one for one in entries(s) if held is None or one.permissions <= set(held)]
    return [(one.name, one.name.capitalize() if one.built_in else one.name) for one in giveable]


def check_gift(s: Session, role: str, held: Held) -> None:
    """That the role exists and may be given to somebody; it can't be deleted before this transaction ends."""
    if role not in PERMISSIONS and _locked(s, role) is None:
        detail = f"must be one of {', '.join(one.name for one in entries(s))}"
        raise Invalid(f"The role {detail}.", errors=[{"pointer": "/role", "detail": detail}])
    refuse_excess(permissions(s, role), held, f"The role {role} may do more than you")


def create(s: Session, name: str, wanted: Iterable[str], held: Held) -> CustomRole:
    """A new role; Conflict when the name is taken, Forbidden for a permission that whoever makes it lacks."""
    if not _NAME.fullmatch(name):
        detail = "has 2 to 31 characters: small letters, digits and dashes, a letter first"
        raise Invalid(f"The name of a role {detail}.", errors=[{"pointer": "/name", "detail": detail}])
    granted = _wanted(wanted)
    refuse_excess(granted, held, "A role can't be given what you may not do yourself")
    role = CustomRole(name=name, permissions=sorted(granted), created_at=db.now(), changed_at=db.now())
    if name in PERMISSIONS:
        raise Conflict(f"The role {name} is built in.", code="role_taken")
    s.add(role)
    try:
        s.flush()
    except IntegrityError:
        raise Conflict(f"There is a role {name} already.", code="role_taken") from None
    audit.record(s, "role.create", name, after={"permissions": role.permissions})
    return role


def change(s: Session, name: str, wanted: Iterable[str], held: Held) -> CustomRole:
    """Other permissions for a role, which neither before nor afterwards may do more than whoever changes it."""
    role = _changeable(s, name, held)
    granted = _wanted(wanted)
    refuse_excess(granted, held, "A role can't be given what you may not do yourself")
    before, role.permissions, role.changed_at = role.permissions, sorted(granted), db.now()
    audit.record(s, "role.change", name, before={"permissions": before}, after={"permissions": role.permissions})
    return role


def delete(s: Session, name: str, held: Held) -> None:
    """Remove a role that nobody has."""
    role = _changeable(s, name, held)
    people = s.scalar(select(func.count()).select_from(User).where(User.role == name)) or 0
    if people:
        raise Conflict(
            f"{people} {'person has' if people == 1 else 'people have'} this role. Give them another one first.",
            code="role_in_use",
        )
    s.delete(role)
    for path in AFTER_DELETE:
        module, _, function = path.partition(":")
        getattr(importlib.import_module(module), function)(s, name)
    audit.record(s, "role.delete", name, before={"permissions": role.permissions})


def _number(role: str) -> ScalarSelect[int]:
    some = select(User.id).where(User.role == role).limit(COUNTED).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


def _changeable(s: Session, name: str, held: Held) -> CustomRole:
    if name in PERMISSIONS:
        raise Conflict(f"The role {name} is built in and stays as it is. Make one of your own.", code="role_built_in")
    role = _locked(s, name)
    if role is None:
        raise NotFound(f"There is no role {name[:40]}.")
    refuse_excess(understood(role.permissions), held, "This role may do more than you")
    return role


def _locked(s: Session, name: str) -> CustomRole | None:
    if not _NAME.fullmatch(name):  # MariaDB answers an error when a name in another alphabet meets the column
        return None
    return s.scalars(select(CustomRole).where(CustomRole.name == name).with_for_update()).one_or_none()


def _wanted(names: Iterable[str]) -> frozenset[Permission]:
    given = list(dict.fromkeys(names))
    unknown = [name for name in given if not understood([name])]
    if unknown:
        detail = f"has no permission {', '.join(sorted(unknown))[:200]}"
        raise Invalid(f"The list {detail}.", errors=[{"pointer": "/permissions", "detail": detail}])
    return understood(given)


def refuse_excess(granted: Collection[Permission], held: Held, sentence: str, pointer: str | None = None) -> None:
    """Forbidden, with what is too much, where somebody would give more than they have."""
    if held is not None and (excess := set(granted) - set(held)):
        told = f"{sentence}: {in_words(excess)}. Somebody who may do so can, such as an administrator."
        errors = [{"pointer": pointer, "detail": f"has {', '.join(sorted(excess))}"}] if pointer else []
        raise Forbidden(told, code="more_than_own", errors=errors)
