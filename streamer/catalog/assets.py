"""Assets: making, finding, changing and deleting them. All inside the caller's transaction."""

import importlib
from collections.abc import Sequence

from sqlalchemy import Select, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from streamer import ids
from streamer.accounts import audit
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission, in_words
from streamer.catalog import collection_films, grants, names, news, search, versions
from streamer.catalog.collection_tables import Access
from streamer.catalog.tables import OUT, Asset, PlaybackId, Publication
from streamer.db import database_now, now
from streamer.errors import Forbidden, NotFound
from streamer.events.types import EventType
from streamer.jobs import jobs, urgency
from streamer.jobs.tables import Job

AFTER_DELETE = ("streamer.delivery.sessions:kill_all",)
"""What later rooms do in the transaction that deletes an asset, by dotted path: `hook(session, asset_id)`."""

_DELETE_TRIES = 50  # storage may be away for hours; nothing may be left behind


def create(s: Session, owner_id: str, title: str, *, asset_id: str | None = None) -> Asset:
    """A new film without a version. `title` is clean already (`names.title`)."""
    moment = now()
    asset = Asset(
        id=asset_id or ids.new("ast"),
        owner_id=owner_id,
        title=title,
        publication=Publication.PUBLISHED,
        created_at=moment,
        updated_at=moment,
    )
    s.add(asset)
    s.flush()
    search.index(s, asset)
    news.asset(s, EventType.ASSET_CREATED, asset)
    facts = {"title": title, "owner_id": owner_id, "publication": asset.publication}
    audit.record(s, "asset.create", asset.id, after=facts, person=owner_id)
    return asset


def visible(s: Session, asset_id: str, who: Principal) -> Asset:
    """The asset, for its owner, those who may read any and those whom a collection lets; NotFound for everyone else, whether it exists or not.

    What is not out, or no longer, only those besides its owner may read who see assets in every state, or change it.
    """
    asset = s.get(Asset, asset_id) if ids.is_id(asset_id) else None
    if asset is None or asset.deleted_at is not None:
        raise missing()
    if not is_visible(asset.owner_id, asset.publication, who) and not is_shared(s, asset.id, asset.publication, who):
        raise missing()
    return asset


def is_visible(owner_id: str, publication: str, who: Principal) -> bool:
    """Whether a film of this owner in this state is there for the principal, without any collection's help."""
    needed = Permission.ASSETS_READ if publication in OUT else Permission.ASSETS_LIST
    return owner_id == who.user_id or who.can(needed)


def is_shared(s: Session, asset_id: str, publication: str, who: Principal) -> bool:
    """Whether a collection lets the principal see a film in this state."""
    granted = grants.of_film(s, asset_id, who.user_id, who.role)
    return granted is not None and (publication in OUT or granted >= Access.EDIT)


def by_ids(s: Session, asset_ids: Sequence[str]) -> Sequence[Asset]:
    """These assets, in no order."""
    return s.scalars(select(Asset).where(Asset.id.in_(asset_ids))).all()


def in_every_state(s: Session, asset: Asset, who: Principal) -> bool:
    """Whether somebody sees all there is of a film, and not only what is out."""
    return asset.owner_id == who.user_id or who.can(Permission.ASSETS_LIST) or _may_edit(s, asset, who)


def permitted(s: Session, asset_id: str, who: Principal, permission: Permission) -> Asset:
    """The asset, for its owner, those with `permission` over everyone's and, to change it, those whom a collection lets."""
    asset = visible(s, asset_id, who)
    if not may(s, asset, who, permission):
        raise Forbidden(
            f"Only the owner of this film, or somebody with the permission {in_words([permission])}, can do this. Ask one of them, or an administrator"
            " for a role that has it."
        )
    return asset


def may(s: Session, asset: Asset, who: Principal, permission: Permission) -> bool:
    """Whether somebody may do with this film what `permission` allows with everyone's."""
    if who.can(permission) or (asset.owner_id == who.user_id and who.unrestricted):
        return True
    return permission == Permission.ASSETS_WRITE and who.unrestricted and _may_edit(s, asset, who)


def changeable(s: Session, asset_id: str, who: Principal, permission: Permission) -> Asset:
    """The same, locked, for a change."""
    asset = permitted(s, asset_id, who, permission)
    s.refresh(asset, with_for_update=True)
    if asset.deleted_at is not None:
        raise missing()
    return asset


def listed(who: Principal, text: str = "") -> tuple[Select[Asset], InstrumentedAttribute[str]]:
    """The films this principal sees in lists and the column they are paged by, for `http.page`; `text` is looked for in titles."""
    owner_id = None if who.can(Permission.ASSETS_LIST) else who.user_id
    if text.strip():
        return search.found(text, owner_id)
    query = select(Asset).where(Asset.deleted_at.is_(None))
    return (query if owner_id is None else query.where(Asset.owner_id == owner_id)), Asset.id


def change(s: Session, asset: Asset, *, title: str | None = None, publication: Publication | None = None) -> None:
    """Set what is given."""
    before = _told(asset)
    if title is not None:
        asset.title = names.title(title)
        search.index(s, asset)
    if publication is not None:
        asset.publication = publication
    asset.updated_at = now()
    news.asset(s, EventType.ASSET_UPDATED, asset)
    left, came = before - _told(asset), _told(asset) - before
    audit.record(s, "asset.change", asset.id, before=dict(left), after=dict(came), person=asset.owner_id)


def delete(s: Session, asset: Asset) -> Job:
    """Tombstone it at once, stop its encodes, and queue the job that removes its objects, which is for the caller to dispatch."""
    asset.deleted_at = asset.updated_at = now()
    search.forget(s, asset.id)
    collection_films.forget(s, asset.id)
    news.asset(s, EventType.ASSET_DELETED, asset)
    audit.record(s, "asset.delete", asset.id, before={"title": asset.title}, person=asset.owner_id)
    s.execute(
        update(PlaybackId)
        .where(PlaybackId.asset_id == asset.id, PlaybackId.revoked_at.is_(None))
        .values(revoked_at=database_now())
        .execution_options(synchronize_session=False)
    )
    for job in versions.encodes_of(s, versions.ids_of(s, asset.id)):
        jobs.cancel(s, job.id)
    for path in AFTER_DELETE:
        module, _, name = path.partition(":")
        getattr(importlib.import_module(module), name)(s, asset.id)
    return enqueue_removal(s, asset)


def enqueue_removal(s: Session, asset: Asset) -> Job:
    """The job that removes a deleted asset's objects. A second one does no harm."""
    return jobs.enqueue(
        s, "delete", asset.id, owner_id=asset.owner_id, priority=urgency.URGENT, max_attempts=_DELETE_TRIES
    )


def _told(asset: Asset) -> set[tuple[str, str]]:
    """What of a film may change by hand, for the audit log."""
    return {("title", asset.title), ("publication", str(asset.publication))}


def _may_edit(s: Session, asset: Asset, who: Principal) -> bool:
    return (grants.of_film(s, asset.id, who.user_id, who.role) or 0) >= Access.EDIT


def missing() -> NotFound:
    """The refusal, which says nothing of whether there is one."""
    return NotFound("There is no film with this id, or it is not yours to see.")
