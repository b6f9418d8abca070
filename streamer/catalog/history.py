"""A film's versions as its owner handles them: found, published by hand, deleted. All inside the caller's transaction, with the asset locked.

Publishing by hand is a decision that stands: what was there to choose then, finished or not, doesn't take the place by itself any more; a version
that is made afterwards does. Deleting is a tombstone at once and a job later, when no token of a viewer can be in force.
"""

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from streamer import ids
from streamer.accounts import audit
from streamer.catalog import news, versions
from streamer.catalog.tables import Asset, Processing, Version
from streamer.config import Delivery
from streamer.db import now
from streamer.errors import Conflict, NotFound
from streamer.events.types import EventType
from streamer.jobs import jobs, urgency
from streamer.jobs.tables import Job

_DELETE_TRIES = 50  # as for whole films: nothing may be left behind


def listed(asset_id: str) -> Select[Version]:
    """Those that are not deleted, for `http.page`."""
    return select(Version).where(Version.asset_id == asset_id, Version.deleted_at.is_(None))


def get(s: Session, asset_id: str, version_id: str) -> Version:
    """The film's version with this id, or NotFound."""
    version = s.get(Version, version_id, populate_existing=True) if ids.is_id(version_id) else None
    if version is None or version.asset_id != asset_id or version.deleted_at is not None:
        raise NotFound("This film has no version with this id.")
    return version


def publish(s: Session, asset: Asset, version: Version) -> None:
    """Make it what plays, and leave it so. Whoever watches another version goes on with that; Conflict when it isn't whole."""
    if version.processing != Processing.READY:
        raise Conflict("Only a version that is ready can be published.", code="version_not_ready")
    before = asset.live_version_id
    asset.live_version_id, asset.updated_at = version.id, now()
    asset.passed_over_id = s.scalars(select(func.max(Version.id)).where(Version.asset_id == asset.id)).one()
    if before != version.id:
        news.version(s, EventType.VERSION_PUBLISHED, version)
    audit.record(s, "version.publish", asset.id, before={"version_id": before}, after={"version_id": version.id})


def delete(s: Session, asset: Asset, version: Version, grace_s: float) -> Job:
    """Tombstone it, stop its encode, and queue the job that removes its files after `grace_s` seconds. Conflict for what plays."""
    if asset.live_version_id == version.id:
        raise Conflict("This version is what plays. Publish another one first.", code="version_live")
    if s.scalars(select(func.count()).select_from(listed(asset.id).subquery())).one() == 1:
        raise Conflict("A film keeps one version at least. Delete the film instead.", code="last_version")
    for job in versions.encodes_of(s, [version.id]):
        jobs.cancel(s, job.id)
    version.deleted_at = asset.updated_at = now()
    news.version(s, EventType.VERSION_DELETED, version)
    audit.record(s, "version.delete", version.id, before={"asset_id": asset.id})
    return enqueue_removal(s, version, grace_s)


def keep_newest(s: Session, asset_id: str, count: int, grace_s: float) -> None:
    """Delete the ready versions beyond the newest `count`, but never what plays, which somebody may have chosen among the old ones."""
    asset = s.get_one(Asset, asset_id, with_for_update=True, populate_existing=True)
    ready = listed(asset_id).where(Version.processing == Processing.READY).order_by(Version.id.desc())
    for version in s.scalars(ready).all()[count:]:
        if version.id != asset.live_version_id:
            delete(s, asset, version, grace_s)


def grace_s(settings: Delivery) -> float:
    """The longest that an address may be good which a viewer got before the version was deleted."""
    return float(settings.token_max_s + settings.token_skew_s)


def enqueue_removal(s: Session, version: Version, delay_s: float = 0.0) -> Job:
    """The job that removes a deleted version's objects. A second one does no harm."""
    owner_id, tries = version.created_by, _DELETE_TRIES
    return jobs.enqueue(
        s,
        "delete_version",
        version.id,
        owner_id=owner_id,
        priority=urgency.URGENT,
        max_attempts=tries,
        delay_s=delay_s,
    )
