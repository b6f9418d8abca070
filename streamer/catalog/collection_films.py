"""The films of a collection: put in, taken out, moved, read in their order. All inside the caller's transaction."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from streamer import db, ids
from streamer.accounts import audit
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission, in_words
from streamer.catalog import collections
from streamer.catalog.collection_tables import Access, Collection, CollectionFilm
from streamer.catalog.tables import OUT, Asset
from streamer.errors import Conflict, Forbidden, NotFound

MOST = 2000


def page(s: Session, row: Collection, who: Principal, limit: int, after: str | None = None) -> Select[CollectionFilm]:
    """Up to `limit` of its films behind the film `after`, in their order; what is not out only for those who may change it."""
    # Not a join: the databases would rather begin with the films that are shown, and sort all of them.
    query = (
        select(CollectionFilm)
        .where(
            CollectionFilm.collection_id == row.id,
            exists().where(Asset.id == CollectionFilm.asset_id, shown(s, [row], who)),
        )
        .order_by(CollectionFilm.place)
        .limit(limit)
    )
    if after:
        there = CollectionFilm.collection_id == row.id, CollectionFilm.asset_id == after
        query = query.where(CollectionFilm.place > select(CollectionFilm.place).where(*there).scalar_subquery())
    return query


def shown(s: Session, rows: Sequence[Collection], who: Principal) -> ColumnElement[bool]:
    """Which films of these collections somebody sees: what is not out only those who may change it."""
    there = Asset.deleted_at.is_(None)
    if who.can(Permission.ASSETS_LIST):
        return there
    changed = [key for key, access in collections.accesses(s, rows, who).items() if access >= Access.EDIT]
    out = or_(Asset.publication.in_(OUT), Asset.owner_id == who.user_id, CollectionFilm.collection_id.in_(changed))
    return and_(there, out)


def add(s: Session, row: Collection, asset: Asset, who: Principal) -> CollectionFilm:
    """Put a film at the end; one's own, or anybody's for who may change anyone's. It is there once: a second time changes nothing."""
    if not (who.can(Permission.ASSETS_WRITE) or (asset.owner_id == who.user_id and who.unrestricted)):
        raise Forbidden(
            f"Only the owner of a film, or somebody with the permission {in_words([Permission.ASSETS_WRITE])}, puts it into a collection. Ask one of them.",
            code="not_own_film",
        )
    if there := s.get(CollectionFilm, (row.id, asset.id)):
        return there
    last, count = s.execute(
        select(func.max(CollectionFilm.place), func.count()).where(CollectionFilm.collection_id == row.id)
    ).one()
    if count >= MOST:
        raise Conflict(f"A collection can have {MOST} films.", code="too_many_films")
    film = CollectionFilm(
        collection_id=row.id, asset_id=asset.id, place=(last or 0) + 1, added_by=who.user_id, added_at=db.now()
    )
    s.add(film)
    s.flush()
    audit.record(s, "collection.film.add", row.id, after={"asset_id": asset.id})
    return film


def remove(s: Session, collection_id: str, asset_id: str, who: Principal) -> None:
    """Take a film out: its owner always can, without seeing the collection any more, others if they manage it."""
    film = (
        s.get(CollectionFilm, (collection_id, asset_id)) if ids.is_id(collection_id) and ids.is_id(asset_id) else None
    )
    own = film is not None and who.unrestricted and s.get_one(Asset, asset_id).owner_id == who.user_id
    if not own:
        collections.changeable(s, collection_id, who)
    row = s.get_one(Collection, collection_id, with_for_update=True)
    _take_out(s, _film(s, row, asset_id))
    audit.record(s, "collection.film.remove", row.id, before={"asset_id": asset_id})


def move(s: Session, row: Collection, asset_id: str, place: int) -> CollectionFilm:
    """Put a film of a locked collection at another place, 1 for the first; the others make room."""
    film = _film(s, row, asset_id)
    count = s.scalar(select(func.count()).where(CollectionFilm.collection_id == row.id)) or 0
    place = max(1, min(place, count))
    if place < film.place:
        _shift(s, row.id, place, film.place - 1, 1)
    elif place > film.place:
        _shift(s, row.id, film.place + 1, place, -1)
    before, film.place = film.place, place
    facts = {"asset_id": asset_id, "place": place}
    audit.record(s, "collection.film.move", row.id, before={**facts, "place": before}, after=facts)
    return film


def forget(s: Session, asset_id: str) -> None:
    """The film is deleted: it is in no collection any more."""
    for film in s.scalars(select(CollectionFilm).where(CollectionFilm.asset_id == asset_id)).all():
        _take_out(s, film)


def _film(s: Session, row: Collection, asset_id: str) -> CollectionFilm:
    film = s.get(CollectionFilm, (row.id, asset_id)) if ids.is_id(asset_id) else None
    if film is None:
        raise NotFound("This film is not in the collection.")
    return film


def _take_out(s: Session, film: CollectionFilm) -> None:
    s.delete(film)
    s.flush()
    _shift(s, film.collection_id, film.place + 1, None, -1)


def _shift(s: Session, collection_id: str, first: int, last: int | None, by: int) -> None:
    between = [CollectionFilm.collection_id == collection_id, CollectionFilm.place >= first]
    if last is not None:
        between.append(CollectionFilm.place <= last)
    s.execute(
        update(CollectionFilm)
        .where(*between)
        .values(place=CollectionFilm.place + by)
        .execution_options(synchronize_session=False)
    )
