"""Rows of the catalog as plain documents: what the API shows of them and events tell, without asking anything else."""

from datetime import datetime
from typing import Any

from streamer.catalog.tables import Asset, PlaybackId, Rendition, Version


def asset(row: Asset) -> dict[str, Any]:
    return {
        "id": row.id,
        "owner_id": row.owner_id,
        "title": row.title,
        "publication": row.publication,
        "live_version_id": row.live_version_id,
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
    }


def encode(version: Version) -> dict[str, Any]:
    """How the making of it is doing."""
    return {
        "processing": version.processing,
        "error": version.error,
        "version_id": version.id,
        "source": {"name": version.source_name, "size": version.source_size, "sha256": version.source_sha256},
    }


def film(version: Version) -> dict[str, Any]:
    """What plays of it."""
    return {
        "playable": version.playable,
        "stage": version.stage,
        "available_s": version.available_s,
        "duration_s": version.duration_s,
        "width": version.width,
        "height": version.height,
    }


def version(row: Version) -> dict[str, Any]:
    """One of a film's versions, apart from what the film says of it."""
    made = encode(row)
    del made["version_id"]
    return {
        "id": row.id,
        "asset_id": row.asset_id,
        **made,
        **film(row),
        "options": row.options or {},
        "created_at": _time(row.created_at),
        "published_at": _time(row.published_at) if row.published_at else None,
    }


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


def _time(moment: datetime) -> str:
    return moment.isoformat()
