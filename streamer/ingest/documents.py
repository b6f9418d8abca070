"""Uploads as the API shows them."""

from collections.abc import Sequence
from typing import Annotated, Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from typing_extensions import TypedDict

from streamer.catalog.tables import Asset
from streamer.ingest.tables import Import, Upload, UploadState
from streamer.jobs import api as jobs_api
from streamer.jobs import jobs, progress
from streamer.jobs.api import JobDocument
from streamer.operations import Id, Time, one_of
from streamer.services import Services


class SameFilm(TypedDict):
    """A film that has the same bytes."""

    asset_id: Id
    title: str


class _Upload(TypedDict):
    id: Id
    asset_id: Id | None
    replaces: Id | None
    filename: str
    declared_size: int | None
    received: int
    state: Annotated[str, one_of(UploadState)]
    sha256: str | None
    warning: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: Time
    updated_at: Time


class UploadDocument(_Upload):
    """A file on its way in, sizes in bytes. `url` and `job` are of one that the server fetches itself."""

    duplicate_of: SameFilm | None
    url: str | None
    job: JobDocument | None


def uploads(services: Services, s: Session, rows: Sequence[Upload]) -> list[UploadDocument]:
    """A fixed number of queries and one round trip to Redis, however many rows."""
    equal = s.scalars(select(Asset).where(Asset.id.in_([row.duplicate_of for row in rows if row.duplicate_of])))
    titles = {asset.id: asset.title for asset in equal if asset.deleted_at is None}
    imports = s.scalars(select(Import).where(Import.id.in_([row.id for row in rows])))
    urls = {row.id: row.url for row in imports}
    fetches = jobs.latest_of(s, list(urls)) if urls else {}
    known = progress.read(services.kv_sync, [job.id for job in fetches.values()])
    return [
        {
            **_upload(row),
            "duplicate_of": _film(row.duplicate_of, titles),
            "url": urls.get(row.id),
            "job": jobs_api.document(job, known.get(job.id)) if (job := fetches.get(row.id)) else None,
        }
        for row in rows
    ]


def upload(services: Services, s: Session, row: Upload) -> UploadDocument:
    """One of them."""
    return uploads(services, s, [row])[0]


def _upload(row: Upload) -> _Upload:
    return {
        "id": row.id,
        "asset_id": row.asset_id,
        "replaces": row.replaces,
        "filename": row.filename,
        "declared_size": row.declared_size,
        "received": row.received,
        "state": row.state,
        "sha256": row.sha256,
        "warning": row.warning,
        "error": row.error,
        "created_at": row.created_at.isoformat(),
        "updated_at": row.updated_at.isoformat(),
    }


def _film(asset_id: str | None, titles: dict[str, str]) -> SameFilm | None:
    """None too when that film has been deleted since."""
    return {"asset_id": asset_id, "title": titles[asset_id]} if asset_id and asset_id in titles else None
