"""Versions: one encode of one source each, from queued to live. All inside the caller's transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from streamer import ids
from streamer.accounts import audit
from streamer.catalog import news
from streamer.catalog.tables import Asset, Processing, Rendition, Stage, Version
from streamer.db import looked_at, now
from streamer.events.types import EventType
from streamer.jobs import jobs, kinds
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


def create(
    s: Session, asset_id: str, source: Source, *, made_by: str | None = None, options: dict[str, Any] | None = None
) -> Version:
    """A version that waits for its encode; `made_by` is a user's id."""
    version = Version(
        id=ids.new("ver"),
        asset_id=asset_id,
        source_key=source.key,
        source_name=source.name,
        source_size=source.size,
        source_sha256=source.sha256,
        processing=Processing.QUEUED,
        playable=False,
        options=options,
        created_by=made_by,
        created_at=now(),
    )
    s.add(version)
    s.flush()
    return version


def ids_of(s: Session, asset_id: str) -> Sequence[str]:
    """All versions of an asset, deleted ones too."""
    return s.scalars(select(Version.id).where(Version.asset_id == asset_id)).all()


def by_ids(s: Session, version_ids: Sequence[str]) -> dict[str, Version]:
    """Those versions, in one query."""
    return {version.id: version for version in s.scalars(select(Version).where(Version.id.in_(version_ids)))}


def newest(s: Session, asset_ids: Iterable[str]) -> dict[str, Version]:
    """The newest version of each asset that is not deleted: the one whose progress its owner follows."""
    there = Version.asset_id.in_(list(asset_ids)), looked_at(Version.deleted_at).is_(None)
    latest = select(func.max(Version.id)).where(*there).group_by(Version.asset_id)
    return {version.asset_id: version for version in s.scalars(select(Version).where(Version.id.in_(latest)))}


def encodes_of(s: Session, version_ids: Sequence[str]) -> Sequence[Job]:
    """Jobs that make these versions, queued or running; not those that remove them, which nobody stops."""
    return [job for job in jobs.unfinished_of(s, version_ids) if kinds.is_cancellable(job.kind)]


def folder(s: Session, version: Version, name: str) -> str:
    """Where the version's package lies; `name` is its hash of source and plan.

    A version whose source an older one was made from has its own id in it: both may come to the same plan, and each has to be deleted alone.
    """
    twin = Version.asset_id == version.asset_id, Version.source_sha256 == version.source_sha256, Version.id < version.id
    if s.scalar(select(Version.id).where(*twin).limit(1)) is None:
        return f"{version.asset_id}/{name}"
    return f"{version.asset_id}/{name}-{version.id.rpartition('_')[2]}"


def place(s: Session, version_id: str, path: str) -> None:
    """From here on there may be objects under `path`; what a whole version plays from changes only with `publish`."""
    version = s.get_one(Version, version_id)
    if not _is_whole(version):
        version.path = path


def kin(s: Session, version: Version) -> Sequence[str]:
    """Packages of the same source that are whole, the newest first: what this version may have in common with them needs no encoder."""
    same = Version.asset_id == version.asset_id, Version.source_sha256 == version.source_sha256
    whole = Version.published_at.is_not(None), Version.deleted_at.is_(None), Version.path.is_not(None)
    query = select(Version.path).where(*same, *whole, Version.id != version.id).order_by(Version.id.desc())
    return [path for path in s.scalars(query) if path]


def renditions(s: Session, version_id: str) -> Sequence[Rendition]:
    """The version's renditions: video by size, largest first, then audio and text."""
    rows = s.scalars(select(Rendition).where(Rendition.version_id == version_id)).all()
    order = ["video", "audio", "text"]
    return sorted(rows, key=lambda row: (order.index(row.kind), -(row.height or 0), -row.bandwidth, row.name))


def sizes(s: Session, version_ids: Sequence[str]) -> dict[str, int]:
    """Bytes of their renditions, of those that are whole."""
    summed = select(Rendition.version_id, func.sum(Rendition.size)).where(Rendition.version_id.in_(version_ids))
    return {version_id: int(size) for version_id, size in s.execute(summed.group_by(Rendition.version_id))}


def newest_playing(s: Session, asset_id: str) -> str | None:
    """What a film can play when what it played is no more."""
    playing = Version.asset_id == asset_id, Version.playable, Version.deleted_at.is_(None)
    return s.scalars(select(func.max(Version.id)).where(*playing)).first()


def follow(s: Session, job: Job) -> None:
    """Keep the row in step with its transcode job (see `jobs.kinds`). Success is written by `publish`.

    What grew stays in view while the job waits for another try, and goes when nothing more will come. A version that is whole stays as it is
    while a job mends it, also if that fails: the job says so.
    """
    version = s.get(Version, job.subject_id, populate_existing=True)
    if version is None or job.state not in _FOLLOWED or _is_whole(version):
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
    if not _is_whole(version):
        version.processing = processing


def grow(s: Session, version_id: str, growth: Growth) -> None:
    """Let what exists of it be watched. It plays at once if nothing else of the film does; a version that plays is replaced by whole ones only."""
    asset, version = _undeleted(s, version_id)
    if version.stage is not None and _ORDER.index(growth.stage) < _ORDER.index(Stage(version.stage)):
        return  # the smaller stage goes on growing beside the better one
    version.stage, version.available_s, version.playable = growth.stage, growth.available_s, True
    version.path, version.duration_s, version.poster = growth.path, growth.duration_s, growth.poster
    version.width, version.height = growth.width, growth.height
    if asset.live_version_id is None:
        asset.live_version_id = version.id
        news.asset(s, EventType.ASSET_PLAYABLE, asset, version)


def publish(s: Session, version_id: str, facts: Facts) -> None:
    """Record what was made and make it what plays: one pointer, moved in the transaction that finishes the job.

    It stays where it is when a newer version plays, or when somebody chose an older one by hand and this one was there to choose.
    """
    asset, version = _undeleted(s, version_id)
    version.path, version.report = facts.path, facts.report
    version.stage, version.available_s = Stage.FINAL, facts.duration_s
    version.duration_s, version.width, version.height = facts.duration_s, facts.width, facts.height
    version.poster, version.playable, version.error = facts.poster, True, None
    version.processing, version.published_at = Processing.READY, now()
    _replace_renditions(s, version.id, facts.renditions)
    asset.updated_at = now()
    if asset.live_version_id is None:
        news.asset(s, EventType.ASSET_PLAYABLE, asset, version)
    before, takes_over = asset.live_version_id, publishes_itself(asset, version)
    if takes_over and before != version.id:
        asset.live_version_id = version.id
        audit.record(s, "version.publish", asset.id, before={"version_id": before}, after={"version_id": version.id})
    news.asset(s, EventType.ASSET_READY, asset, version)
    if takes_over and before not in (None, version.id):
        news.version(s, EventType.VERSION_PUBLISHED, version)


def publishes_itself(asset: Asset, version: Version) -> bool:
    """Whether the version becomes what plays as soon as it is whole."""
    return asset.live_version_id is None or version.id > max(asset.live_version_id, asset.passed_over_id or "")


def purged(s: Session, version_id: str) -> None:
    """Nothing of a deleted version is left but its row, which sessions of the past name."""
    s.get_one(Version, version_id).purged_at = now()
    s.execute(delete(Rendition).where(Rendition.version_id == version_id))


def check_wanted(asset: Asset, version: Version) -> None:
    """TaskFailed for work on what is gone."""
    if asset.deleted_at is not None:
        raise TaskFailed("asset_deleted", "The film was deleted", "There is nothing left to prepare.", retryable=False)
    if version.deleted_at is not None:
        raise TaskFailed("version_deleted", "The version was deleted", "There is nothing to prepare.", retryable=False)


def _is_whole(version: Version) -> bool:
    """Whether all of it plays, so that a job on it only mends."""
    return version.stage == Stage.FINAL and version.playable


def _undeleted(s: Session, version_id: str) -> tuple[Asset, Version]:
    """The asset, locked, and the version as it is then; TaskFailed when one of them is gone."""
    asset_id = s.scalars(select(Version.asset_id).where(Version.id == version_id)).one()
    asset = s.get_one(Asset, asset_id, with_for_update=True, populate_existing=True)
    version = s.get_one(Version, version_id, populate_existing=True)
    check_wanted(asset, version)
    return asset, version


def _tell(s: Session, kind: EventType, version: Version) -> None:
    """How an encode ended without a film; of what was deleted nobody wants to hear it."""
    asset = s.get_one(Asset, version.asset_id)
    if asset.deleted_at is None and version.deleted_at is None:
        news.asset(s, kind, asset, version)


def _withdraw(s: Session, version: Version) -> None:
    """Nobody new starts on what will have no end; the newest other version that plays is there for them, if there is one. Its path stays:
    those who watch keep what exists."""
    asset = s.get_one(Asset, version.asset_id, with_for_update=True, populate_existing=True)
    version.playable, version.stage, version.available_s = False, None, None
    if asset.live_version_id == version.id:
        asset.live_version_id = newest_playing(s, asset.id)


def _replace_renditions(s: Session, version_id: str, facts: Iterable[RenditionFacts]) -> None:
    s.execute(delete(Rendition).where(Rendition.version_id == version_id))
    s.add_all(Rendition(id=ids.new("rnd"), version_id=version_id, **asdict(one)) for one in facts)
