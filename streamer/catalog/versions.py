"""Versions: one encode of one source each, from queued to live. All inside the caller's transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from streamer import ids
from streamer.catalog import news
from streamer.catalog.tables import Asset, Processing, Rendition, Stage, Version
from streamer.db import now
from streamer.events.types import EventType
from streamer.jobs.errors import TaskFailed
from streamer.jobs.tables import Job, State

_FOLLOWED = {
    State.QUEUED: Processing.QUEUED,
    State.FAILED: Processing.ERRORED,
    State.CANCELLED: Processing.CANCELLED,
}
_TOLD = {State.FAILED: EventType.ASSET_ERRORED, State.CANCELLED: EventType.ASSET_CANCELLED}
_ORDER = list(Stage)


@dataclass(frozen=True, slots=True)
class Source:
    """The file a version is made from: where it stands in storage, what its owner called it, `size` in bytes."""

    key: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class RenditionFacts:
    """One playlist; bandwidths in bit/s, `size` in bytes."""

    kind: str
    name: str
    codecs: str
    bandwidth: int
    average_bandwidth: int
    size: int
    width: int | None = None
    height: int | None = None
    frame_rate: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What an encode made. `path` is `<asset>/<version hash>`, the folder of its objects."""

    path: str
    duration_s: float
    width: int | None
    height: int | None
    poster: bool
    renditions: Sequence[RenditionFacts]
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Growth:
    """What can be watched of an unfinished encode: its first `available_s` of `duration_s` seconds."""

    stage: Stage
    path: str
    available_s: float
    duration_s: float
    width: int | None
    height: int | None
    poster: bool


def create(s: Session, asset_id: str, source: Source) -> Version:
    """A version that waits for its encode."""
    version = Version(
        id=ids.new("ver"),
        asset_id=asset_id,
        source_key=source.key,
        source_name=source.name,
        source_size=source.size,
        source_sha256=source.sha256,
        processing=Processing.QUEUED,
        playable=False,
        created_at=now(),
    )
    s.add(version)
    s.flush()
    return version


def ids_of(s: Session, asset_id: str) -> Sequence[str]:
    """All versions of an asset."""
    return s.scalars(select(Version.id).where(Version.asset_id == asset_id)).all()


def by_ids(s: Session, version_ids: Sequence[str]) -> dict[str, Version]:
    """Those versions, in one query."""
    return {version.id: version for version in s.scalars(select(Version).where(Version.id.in_(version_ids)))}


def newest(s: Session, asset_ids: Iterable[str]) -> dict[str, Version]:
    """The newest version of each asset: the one whose progress its owner follows."""
    latest = select(func.max(Version.id)).where(Version.asset_id.in_(list(asset_ids))).group_by(Version.asset_id)
    return {version.asset_id: version for version in s.scalars(select(Version).where(Version.id.in_(latest)))}


def renditions(s: Session, version_id: str) -> Sequence[Rendition]:
    """The version's renditions: video by size, largest first, then audio and text."""
    rows = s.scalars(select(Rendition).where(Rendition.version_id == version_id)).all()
    order = ["video", "audio", "text"]
    return sorted(rows, key=lambda row: (order.index(row.kind), -(row.height or 0), -row.bandwidth, row.name))


def follow(s: Session, job: Job) -> None:
    """Keep the row in step with its transcode job (see `jobs.kinds`). Success is written by `publish`.

    What grew stays in view while the job waits for another try, and goes when nothing more will come.
    """
    version = s.get(Version, job.subject_id, populate_existing=True)
    if version is None or job.state not in _FOLLOWED:
        return
    before, version.processing = version.processing, _FOLLOWED[State(job.state)]
    version.error = job.error
    if job.state != State.QUEUED and version.playable:
        _withdraw(s, version)
    if job.state in _TOLD and version.processing != before:
        _tell(s, _TOLD[State(job.state)], version)


def advance(s: Session, version_id: str, processing: Processing) -> None:
    """The encode has come to a new stage."""
    version = s.get_one(Version, version_id)
    version.processing = processing


def grow(s: Session, version_id: str, growth: Growth) -> None:
    """Let what exists of it be watched. It plays at once if nothing else of the film does; a version that plays is replaced by whole ones only."""
    version = s.get_one(Version, version_id)
    if version.stage is not None and _ORDER.index(growth.stage) < _ORDER.index(Stage(version.stage)):
        return  # the smaller stage goes on growing beside the better one
    asset = _undeleted(s, version.asset_id)
    version.stage, version.available_s, version.playable = growth.stage, growth.available_s, True
    version.path, version.duration_s, version.poster = growth.path, growth.duration_s, growth.poster
    version.width, version.height = growth.width, growth.height
    if asset.live_version_id is None:
        asset.live_version_id = version.id
        news.asset(s, EventType.ASSET_PLAYABLE, asset, version)


def publish(s: Session, version_id: str, facts: Facts) -> None:
    """Record what was made and make it what plays: one pointer, moved in the transaction that finishes the job."""
    version = s.get_one(Version, version_id)
    asset = _undeleted(s, version.asset_id)
    version.path, version.report = facts.path, facts.report
    version.stage, version.available_s = Stage.FINAL, facts.duration_s
    version.duration_s, version.width, version.height = facts.duration_s, facts.width, facts.height
    version.poster, version.playable, version.error = facts.poster, True, None
    version.processing, version.published_at = Processing.READY, now()
    _replace_renditions(s, version.id, facts.renditions)
    asset.updated_at = now()
    if asset.live_version_id is None:
        news.asset(s, EventType.ASSET_PLAYABLE, asset, version)
    if asset.live_version_id is None or asset.live_version_id < version.id:
        asset.live_version_id = version.id
    news.asset(s, EventType.ASSET_READY, asset, version)


def deleted() -> TaskFailed:
    """What happens to work on a film that is gone."""
    return TaskFailed("asset_deleted", "The film was deleted", "There is nothing left to prepare.", retryable=False)


def _undeleted(s: Session, asset_id: str) -> Asset:
    """The asset, locked; TaskFailed when it is gone."""
    asset = s.get_one(Asset, asset_id, with_for_update=True, populate_existing=True)
    if asset.deleted_at is not None:
        raise deleted()
    return asset


def _tell(s: Session, kind: EventType, version: Version) -> None:
    """How an encode ended without a film; of a film that was deleted nobody wants to hear it."""
    asset = s.get_one(Asset, version.asset_id)
    if asset.deleted_at is None:
        news.asset(s, kind, asset, version)


def _withdraw(s: Session, version: Version) -> None:
    """Nobody new starts on what will have no end. Its path stays: those who watch keep what exists."""
    asset = s.get_one(Asset, version.asset_id, with_for_update=True, populate_existing=True)
    version.playable, version.stage, version.available_s = False, None, None
    if asset.live_version_id == version.id:
        asset.live_version_id = None


def _replace_renditions(s: Session, version_id: str, facts: Iterable[RenditionFacts]) -> None:
    s.execute(delete(Rendition).where(Rendition.version_id == version_id))
    s.add_all(Rendition(id=ids.new("rnd"), version_id=version_id, **asdict(one)) for one in facts)
