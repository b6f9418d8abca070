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
