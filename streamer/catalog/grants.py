"""What people and roles may do in collections, and so with the films in them. All inside the caller's transaction.

A grant only ever widens: whoever may do something without it may do it still. It never covers deleting a film, and a film gets into a collection only by
somebody who may change it themselves, so nobody gains by a collection of their own making.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from streamer import db, ids
from streamer.accounts import audit, rolebook, users
from streamer.accounts.logins import Principal
from streamer.catalog.collection_tables import Access, Collection, CollectionFilm, Grant
from streamer.errors import Conflict, NotFound

MOST = 200
_ROLE = "role:"


def grantees(user_id: str, role: str) -> tuple[str, str]:
    """The names under which somebody is granted something."""
    return user_id, role_name(role)


def role_name(role: str) -> str:
    """A role as a grant names it."""
    return f"{_ROLE}{role}"


def role_of(grant: Grant) -> str | None:
    """The role that is meant; None when it is a person."""
    return grant.grantee.removeprefix(_ROLE) if grant.grantee.startswith(_ROLE) else None


def of_film(s: Session, asset_id: str, user_id: str, role: str) -> Access | None:
    """The most that any collection with this film allows; one query, however many there are."""
    query = (
        select(func.max(Grant.level))
        .join(CollectionFilm, CollectionFilm.collection_id == Grant.collection_id)
        .where(CollectionFilm.asset_id == asset_id, Grant.grantee.in_(grantees(user_id, role)))
    )
    level = s.scalar(query)
    return Access(level) if level else None


def of_collections(s: Session, collection_ids: Sequence[str], who: Principal) -> dict[str, Access]:
    """What each of these collections allows somebody."""
    query = (
        select(Grant.collection_id, func.max(Grant.level))
        .where(Grant.collection_id.in_(collection_ids), Grant.grantee.in_(grantees(who.user_id, who.role)))
        .group_by(Grant.collection_id)
    )
    return {collection_id: Access(level) for collection_id, level in s.execute(query)}


def listed(s: Session, collection: Collection) -> Sequence[Grant]:
    """Those that were given, oldest first; the owner's is not among them."""
    given = Grant.collection_id == collection.id, Grant.grantee != collection.owner_id
    return s.scalars(select(Grant).where(*given).order_by(Grant.id)).all()


def give(
    s: Session, collection: Collection, access: Access, *, user_id: str | None = None, role: str | None = None
) -> Grant:
    """Let a person or a role do so much, in place of what they could do before. NotFound for nobody, Conflict for the owner."""
    grantee = role_name(rolebook.entry(s, role).name) if role is not None else users.get(s, user_id or "").id
    if grantee == collection.owner_id:
        raise Conflict("This is the owner, who may do everything.", code="owner_grant")
    there = list(listed(s, collection))
    grant = next((one for one in there if one.grantee == grantee), None)
    if grant is None and len(there) >= MOST:
        raise Conflict(f"A collection can have {MOST} grants; take one back first.", code="too_many_grants")
    before = {"grantee": grantee, "access": Access(grant.level).name.lower()} if grant else None
    grant = grant or add(s, collection.id, grantee, access)
    grant.level = access
    after = {"grantee": grantee, "access": access.name.lower()}
    audit.record(s, "collection.grant", collection.id, before=before, after=after)
    return grant


def add(s: Session, collection_id: str, grantee: str, access: Access) -> Grant:
    """The row of a new grant."""
    grant = Grant(id=ids.new("cgr"), collection_id=collection_id, grantee=grantee, level=access, created_at=db.now())
    s.add(grant)
    s.flush()
    return grant


def take_back(s: Session, collection: Collection, grant_id: str) -> None:
    """End a grant; NotFound when the collection has none with this id."""
    grant = s.get(Grant, grant_id) if ids.is_id(grant_id) else None
    if grant is None or grant.collection_id != collection.id or grant.grantee == collection.owner_id:
        raise NotFound("The collection has no such grant.")
    before = {"grantee": grant.grantee, "access": Access(grant.level).name.lower()}
    s.delete(grant)
    audit.record(s, "collection.revoke", collection.id, before=before)


def forget_role(s: Session, role: str) -> None:
    """A role is deleted: another one of the same name must not inherit what this one was granted."""
    s.execute(delete(Grant).where(Grant.grantee == role_name(role)))
