"""Films in the collections that somebody may see, whosever they are, newest first, page by page.

Each collection is read from its own index, as far as the page reaches, and these pages are put together here. So a page costs what there are of
collections, and nothing by how many films are in them, or in the library.
"""

from collections.abc import Sequence

from sqlalchemy import Select, exists, or_, select, union_all
from sqlalchemy.orm import Session

from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog import assets, grants
from streamer.catalog.collection_tables import Access, CollectionFilm, Grant
from streamer.catalog.tables import OUT, Asset

COLLECTIONS = 100
"""So many are looked into, the newest ones: those that were granted to a person, and as many that were to their role."""


def page(s: Session, who: Principal, limit: int, before: str | None = None) -> Sequence[Asset]:
    """Up to `limit` of them, older than the film `before`."""
    parts = [_newest(who, *granted, limit, before) for granted in _granted(s, who).items()]
    if not parts:
        return []
    found = set(s.scalars(select(union_all(*parts).subquery().c.asset_id)))
    rows = {row.id: row for row in assets.by_ids(s, list(found))}
    return [rows[asset_id] for asset_id in sorted(rows, reverse=True)[:limit]]


def _granted(s: Session, who: Principal) -> dict[str, int]:
    """The most that somebody may do in each of the collections."""
    parts = []
    for grantee in grants.grantees(who.user_id, who.role):
        one = select(Grant.collection_id, Grant.level).where(Grant.grantee == grantee)
        newest = one.order_by(Grant.collection_id.desc()).limit(COLLECTIONS).subquery()
        parts.append(select(newest.c.collection_id, newest.c.level))
    levels: dict[str, int] = {}
    for collection_id, level in s.execute(union_all(*parts)):
        levels[collection_id] = max(level, levels.get(collection_id, 0))
    return levels


def _newest(who: Principal, collection_id: str, level: int, limit: int, before: str | None) -> Select[str]:
    """Of one collection, what `assets.visible` shows there."""
    shown = exists().where(Asset.id == CollectionFilm.asset_id, Asset.deleted_at.is_(None))
    if level < Access.EDIT and not who.can(Permission.ASSETS_LIST):
        shown = shown.where(or_(Asset.publication.in_(OUT), Asset.owner_id == who.user_id))
    query = select(CollectionFilm.asset_id).where(CollectionFilm.collection_id == collection_id, shown)
    if before:
        query = query.where(CollectionFilm.asset_id < before)
    newest = query.order_by(CollectionFilm.asset_id.desc()).limit(limit).subquery()
    return select(newest.c.asset_id)
