"""Rows of the catalog as plain documents: what the API shows of them and events tell, without asking anything else."""

from datetime import datetime
from typing import Annotated, Any

from typing_extensions import TypedDict

from streamer.catalog.tables import Asset, PlaybackId, Policy, Processing, Publication, Rendition, Stage, Version
from streamer.operations import Id, Time, one_of


class AssetFace(TypedDict):
    """The film itself."""

    id: Id
    owner_id: Id
    title: str
    publication: Annotated[str, one_of(Publication)]
    live_version_id: Id | None
    created_at: Time
    updated_at: Time


class Source(TypedDict):
    """The file it is made of; `size` in bytes."""

    name: str
    size: int
    sha256: str


class Making(TypedDict):
    """How far the making of a version is, and why it stopped short."""

    processing: Annotated[str, one_of(Processing)]
    error: dict[str, Any] | None
    source: Source


class EncodeFace(Making):
    """The same, with the version."""

    version_id: Id


class FilmFace(TypedDict):
    """What plays: `available_s` seconds of `duration_s`."""

    playable: bool
    stage: Annotated[str, one_of(Stage)] | None
    available_s: float | None
    duration_s: float | None
    width: int | None
    height: int | None


class VersionFace(Making, FilmFace):
    """A version; `options` are those in which it differs from the server's settings."""

    id: Id
    asset_id: Id
    options: dict[str, Any]
    created_at: Time
    published_at: Time | None


class PlaybackIdDocument(TypedDict):
    """A public name of a film."""

    id: Id
    policy: Annotated[str, one_of(Policy)]
    created_at: Time


class RenditionDocument(TypedDict):
    """One playlist of a version: bandwidths in bit/s, `size` in bytes."""

    id: Id
    kind: str
    name: str
    width: int | None
    height: int | None
    frame_rate: str | None
    codecs: str
    bandwidth: int
    average_bandwidth: int
    language: str | None
    size: int


def asset(row: Asset) -> AssetFace:
    return {
        "id": row.id,
        "owner_id": row.owner_id,
        "title": row.title,
        "publication": row.publication,
        "live_version_id": row.live_version_id,
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
    }


def encode(version: Version) -> EncodeFace:
    """How the making of it is doing."""
    return {**_making(version), "version_id": version.id}


def film(version: Version) -> FilmFace:
    """What plays of it."""
    return {
        "playable": version.playable,
        "stage": version.stage,
        "available_s": version.available_s,
        "duration_s": version.duration_s,
        "width": version.width,
        "height": version.height,
    }


def version(row: Version) -> VersionFace:
    """One of a film's versions, apart from what the film says of it."""
    return {
        "id": row.id,
        "asset_id": row.asset_id,
        **_making(row),
        **film(row),
        "options": row.options or {},
        "created_at": _time(row.created_at),
        "published_at": _time(row.published_at) if row.published_at else None,
    }


def playback_id(row: PlaybackId) -> PlaybackIdDocument:
    return {"id": row.id, "policy": row.policy, "created_at": _time(row.created_at)}


def rendition(row: Rendition) -> RenditionDocument:
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


def _making(version: Version) -> Making:
    return {
        "processing": version.processing,
        "error": version.error,
        "source": {"name": version.source_name, "size": version.source_size, "sha256": version.source_sha256},
    }


def _time(moment: datetime) -> str:
    return moment.isoformat()
