"""Collections: films in an order, under a name, and who may do what with them. All inside the caller's transaction.

Whoever sees films in every state (ASSETS_LIST) sees all collections, whoever changes anyone's films (ASSETS_WRITE) manages them; everybody else has
what grants say (`grants`). A key with narrowed scopes only looks.
"""

from collections.abc import Sequence

from sqlalchemy import Select, delete, select, union_all
from sqlalchemy.orm import Session

from streamer import db, ids
from streamer.accounts import audit
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog import grants, names
from streamer.catalog.collection_tables import Access, Collection, CollectionFilm, Grant
from streamer.errors import Forbidden, Invalid, NotFound

DESCRIPTION_MAX = 2000


def create(s: Session, who: Principal, name: str, description: str = "") -> Collection:
    """A new one, of whoever makes it."""
    moment = db.now()
    row = Collection(
        id=ids.new("col"),
        owner_id=who.user_id,
        name=names.title(name, "name"),
        description=_description(description),
        created_at=moment,
        updated_at=moment,
    )
    s.add(row)
    s.flush()
    grants.add(s, row.id, who.user_id, Access.MANAGE)
    audit.record(s, "collection.create", row.id, after={"name": row.name}, person=row.owner_id)
    return row


def find(s: Session, collection_id: str, who: Principal, needed: Access = Access.VIEW) -> Collection:
    """The collection, for those who may do so much; NotFound for who may not even see it, else Forbidden."""
    row = s.get(Collection, collection_id) if ids.is_id(collection_id) else None
    access = accesses(s, [row], who).get(row.id) if row else None
    if row is None or access is None:
        raise NotFound("There is no collection with this id, or it is not yours to see.")
    if access < needed:
        raise Forbidden(f"Here you may {access.name.lower()}; this needs {needed.name.lower()}. Ask who manages it.")
    return row


def changeable(s: Session, collection_id: str, who: Principal, needed: Access = Access.MANAGE) -> Collection:
    """The same, locked, for a change."""
    row = find(s, collection_id, who, needed)
    s.refresh(row, with_for_update=True)
    return row


def accesses(s: Session, rows: Sequence[Collection], who: Principal) -> dict[str, Access]:
    """What somebody may do in each of these; nothing for those that they may not see."""
    if who.can(Permission.ASSETS_WRITE):
        return {row.id: Access.MANAGE for row in rows}
    granted = grants.of_collections(s, [row.id for row in rows], who)
    if not who.unrestricted:
        granted = dict.fromkeys(granted, Access.VIEW)
    if who.can(Permission.ASSETS_LIST):
        return {row.id: granted.get(row.id, Access.VIEW) for row in rows}
    return granted


def page(s: Session, who: Principal, limit: int, before: str | None = None) -> Sequence[Collection]:
    """Up to `limit` of those that somebody sees, newest first, older than `before`.

    A person's and a role's grants are each read from an index in this order, and so few of them that nothing has to be sorted there.
    """
    query = select(Collection).order_by(Collection.id.desc()).limit(limit)
    if before:
        query = query.where(Collection.id < before)
    if who.can(Permission.ASSETS_LIST):
        return s.scalars(query).all()
    seen = sorted(set(s.scalars(_granted(who, limit, before))), reverse=True)[:limit]
    rows = {row.id: row for row in s.scalars(select(Collection).where(Collection.id.in_(seen)))}
    return [rows[collection_id] for collection_id in seen]


def change(s: Session, row: Collection, *, name: str | None = None, description: str | None = None) -> None:
    """Set what is given."""
    before = row.name
    row.name = row.name if name is None else names.title(name, "name")
    row.description = row.description if description is None else _description(description)
    row.updated_at = db.now()
    audit.record(s, "collection.change", row.id, before={"name": before}, after={"name": row.name}, person=row.owner_id)


def remove(s: Session, row: Collection) -> None:
    """It is gone, with its grants; its films stay."""
    s.execute(delete(CollectionFilm).where(CollectionFilm.collection_id == row.id))
    s.execute(delete(Grant).where(Grant.collection_id == row.id))
    s.delete(row)
    audit.record(s, "collection.delete", row.id, before={"name": row.name}, person=row.owner_id)


def owned(s: Session, user_id: str) -> Sequence[Collection]:
    """Those of one owner, oldest first."""
    return s.scalars(select(Collection).where(Collection.owner_id == user_id).order_by(Collection.id)).all()


def hand_over(s: Session, row: Collection, heir_id: str) -> None:
    """Another owner, who may do everything in place of the one before."""
    s.execute(delete(Grant).where(Grant.collection_id == row.id, Grant.grantee.in_([row.owner_id, heir_id])))
    audit.record(s, "collection.owner", row.id, before={"owner_id": row.owner_id}, after={"owner_id": heir_id})
    row.owner_id = heir_id
    grants.add(s, row.id, heir_id, Access.MANAGE)


def _granted(who: Principal, limit: int, before: str | None) -> Select[str]:
    parts = []
    for grantee in grants.grantees(who.user_id, who.role):
        one = select(Grant.collection_id).where(Grant.grantee == grantee)
        if before:
            one = one.where(Grant.collection_id < before)
        newest = one.order_by(Grant.collection_id.desc()).limit(limit).subquery()
        parts.append(select(newest.c.collection_id))
    return select(union_all(*parts).subquery().c.collection_id)


def _description(text: str) -> str:
    if len(text.strip()) > DESCRIPTION_MAX:
        detail = f"has {len(text.strip())} characters, the limit is {DESCRIPTION_MAX}"
        raise Invalid(f"The description {detail}.", errors=[{"pointer": "/description", "detail": detail}])
    return names.paragraphs(text)
