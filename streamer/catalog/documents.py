"""Assets and what belongs to them, as the API shows them."""

from collections.abc import Sequence
from typing import Annotated, Any

from sqlalchemy.orm import Session
from typing_extensions import TypedDict

from streamer.accounts import users
from streamer.catalog import faces, playback_ids, versions
from streamer.catalog.faces import AssetFace, FilmFace, PlaybackIdDocument, Source, VersionFace
from streamer.catalog.tables import Asset, Processing, Version
from streamer.jobs import jobs, progress
from streamer.jobs.api import ProgressDocument
from streamer.jobs.progress import Progress
from streamer.jobs.tables import Job
from streamer.operations import Id, one_of
from streamer.services import Services

_WORKING = {Processing.QUEUED, Processing.PROBING, Processing.ENCODING, Processing.PACKAGING}


class _Progressing(TypedDict):
    progress: ProgressDocument | None
    job_id: Id | None


class _Newest(_Progressing):
    processing: Annotated[str, one_of(Processing)] | None
    error: dict[str, Any] | None
    version_id: Id | None
    source: Source | None


class _Playing(FilmFace):
    poster_url: str | None


class AssetDocument(AssetFace, _Newest, _Playing):
    """A film: how its newest version is doing, and what plays."""

    playback_ids: list[PlaybackIdDocument]


class Maker(TypedDict):
    """Who had a version made; the name is null when the account is gone."""

    id: Id
    name: str | None


class VersionDocument(VersionFace, _Progressing):
    """A version of a film. `size`, in bytes, is that of all of its files; `publishes_itself` when it will play as soon as it is ready."""

    live: bool
    publishes_itself: bool
    size: int | None
    created_by: Maker | None


_NOTHING: _Playing = {
    "playable": False,
    "stage": None,
    "available_s": None,
    "duration_s": None,
    "width": None,
    "height": None,
    "poster_url": None,
}


def assets(services: Services, s: Session, rows: Sequence[Asset]) -> list[AssetDocument]:
    """A fixed number of queries and one round trip to Redis, however many rows."""
    if not rows:
        return []
    asset_ids = [row.id for row in rows]
    newest = versions.newest(s, asset_ids)
    live = versions.by_ids(s, [row.live_version_id for row in rows if row.live_version_id])
    latest_jobs = jobs.latest_of(s, [version.id for version in newest.values()])
    known = progress.read(services.kv_sync, [job.id for job in latest_jobs.values()])
    names = playback_ids.of(s, asset_ids)
    documents: list[AssetDocument] = []
    for row in rows:
        version = newest.get(row.id)
        job = latest_jobs.get(version.id) if version else None
        document: AssetDocument = {
            **faces.asset(row),
            **_encode(version, job, known),
            **_film(services, live.get(row.live_version_id or "") or version),
            "playback_ids": [faces.playback_id(one) for one in names[row.id]],
        }
        documents.append(document)
    return documents


def asset(services: Services, s: Session, row: Asset) -> AssetDocument:
    """One of them."""
    return assets(services, s, [row])[0]


def versions_of(services: Services, s: Session, asset: Asset, rows: Sequence[Version]) -> list[VersionDocument]:
    """Some versions of one asset, with who made each and how its encode is doing."""
    version_ids = [row.id for row in rows]
    latest = jobs.latest_of(s, version_ids)
    known = progress.read(services.kv_sync, [job.id for job in latest.values()])
    sizes, makers = versions.sizes(s, version_ids), users.names(s, [row.created_by for row in rows if row.created_by])
    return [
        {
            **faces.version(row),
            **_making(row, latest.get(row.id), known),
            "live": row.id == asset.live_version_id,
            "publishes_itself": row.processing in _WORKING and versions.publishes_itself(asset, row),
            "size": sizes.get(row.id),
            "created_by": {"id": row.created_by, "name": makers.get(row.created_by)} if row.created_by else None,
        }
        for row in rows
    ]


def _encode(version: Version | None, job: Job | None, known: dict[str, Progress]) -> _Newest:
    """How the newest version is doing."""
    if version is None:
        return {"processing": None, "progress": None, "error": None, "version_id": None, "job_id": None, "source": None}
    return {**faces.encode(version), **_making(version, job, known)}


def _making(version: Version, job: Job | None, known: dict[str, Progress]) -> _Progressing:
    progressing = _progress(version, known.get(job.id) if job else None)
    return {"progress": progressing, "job_id": job.id if job else None}


def _progress(version: Version, known: Progress | None) -> ProgressDocument | None:
    if version.processing not in _WORKING:
        return None
    if known is None:
        return {"stage": version.processing, "percent": 0.0, "eta_s": None, "speed": None}
    stage = version.processing if version.processing == Processing.QUEUED else known.stage
    return {"stage": stage, "percent": known.percent, "eta_s": known.eta_s, "speed": known.speed}


def _film(services: Services, version: Version | None) -> _Playing:
    """What plays now."""
    if version is None:
        return _NOTHING
    poster = services.poster_url(version.path) if version.poster and version.path else None
    return {**faces.film(version), "poster_url": poster}
