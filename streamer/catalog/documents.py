"""Assets and what belongs to them, as the API shows them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from streamer.catalog import playback_ids, versions
from streamer.catalog.tables import Asset, PlaybackId, Processing, Rendition, Version
from streamer.jobs import jobs, progress
from streamer.jobs.progress import Progress
from streamer.jobs.tables import Job
from streamer.services import Services

_WORKING = {Processing.QUEUED, Processing.PROBING, Processing.ENCODING, Processing.PACKAGING}


def assets(services: Services, s: Session, rows: Sequence[Asset]) -> list[dict[str, Any]]:
    """A fixed number of queries and one round trip to Redis, however many rows."""
    asset_ids = [row.id for row in rows]
    newest = versions.newest(s, asset_ids)
    live = versions.by_ids(s, [row.live_version_id for row in rows if row.live_version_id])
    latest_jobs = jobs.latest_of(s, [version.id for version in newest.values()])
    known = progress.read(services.kv_sync, [job.id for job in latest_jobs.values()])
    names = playback_ids.of(s, asset_ids)
    documents = []
    for row in rows:
        version = newest.get(row.id)
        job = latest_jobs.get(version.id) if version else None
        face = {
            **_face(row),
            **_encode(version, job, known),
            **_film(services, live.get(row.live_version_id or "") or version),
        }
        documents.append({**face, "playback_ids": [playback_id(one) for one in names[row.id]]})
    return documents


def asset(services: Services, s: Session, row: Asset) -> dict[str, Any]:
    """One of them."""
    return assets(services, s, [row])[0]


def playback_id(row: PlaybackId) -> dict[str, Any]:
    return {"id": row.id, "policy": row.policy, "created_at": _time(row.created_at)}


def rendition(row: Rendition) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "width": row.width,
        "height": row.height,
        "frame_rate": row.frame_rate,
        "codecs": row.codecs,
        "bandwidth": row.bandwidth,
        "average_bandwidth": row.average_bandwidth,
        "language": row.language,
        "size": row.size,
    }


def _face(row: Asset) -> dict[str, Any]:
    return {
        "id": row.id,
        "owner_id": row.owner_id,
        "title": row.title,
        "publication": row.publication,
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
    }


def _encode(version: Version | None, job: Job | None, known: dict[str, Progress]) -> dict[str, Any]:
    """How the newest version is doing."""
    if version is None:
        return {"processing": None, "progress": None, "error": None, "version_id": None, "job_id": None, "source": None}
    return {
        "processing": version.processing,
        "progress": _progress(version, known.get(job.id) if job else None),
        "error": version.error,
        "version_id": version.id,
        "job_id": job.id if job else None,
        "source": {"name": version.source_name, "size": version.source_size, "sha256": version.source_sha256},
    }


def _progress(version: Version, known: Progress | None) -> dict[str, Any] | None:
    if version.processing not in _WORKING:
        return None
    if known is None:
        return {"stage": version.processing, "percent": 0.0, "eta_s": None, "speed": None}
    stage = version.processing if version.processing == Processing.QUEUED else known.stage
    return {"stage": stage, "percent": known.percent, "eta_s": known.eta_s, "speed": known.speed}


def _film(services: Services, version: Version | None) -> dict[str, Any]:
    """What plays now."""
    if version is None:
        nothing = ("stage", "available_s", "duration_s", "width", "height", "poster_url")
        return {"playable": False, **dict.fromkeys(nothing)}
    poster = services.poster_url(version.path) if version.poster and version.path else None
    return {
        "playable": version.playable,
        "stage": version.stage,
        "available_s": version.available_s,
        "duration_s": version.duration_s,
        "width": version.width,
        "height": version.height,
        "poster_url": poster,
    }


def _time(moment: datetime) -> str:
    return moment.isoformat()
