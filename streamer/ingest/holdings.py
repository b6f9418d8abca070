"""What ingest holds of a person: what they sent, and where it was fetched from. See `accounts.holdings`."""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage import StorageError
from streamer import http
from streamer.accounts.holdings import Erasure, Section
from streamer.ingest import uploads
from streamer.ingest.tables import Import, TusUpload, Upload, UploadState
from streamer.services import Services

COLUMNS = ("uploads.user_id", "uploads.filename", "uploads.title", "tus_uploads.title")

_NAMELESS = "erased"
_REASON = {"code": "account_erased", "title": "The account was erased", "detail": "Nothing of it is kept."}


def export(s: Session, user_id: str) -> Iterable[Section]:
    """Uploads and imports."""
    rows = s.execute(
        select(Upload, Import.url).outerjoin(Import, Import.id == Upload.id).where(Upload.user_id == user_id)
    )
    yield "uploads", (_upload(upload, url) for upload, url in rows)


def erase(s: Session, erasure: Erasure) -> None:
    """What is on its way ends; of the rest no name stays. The bytes of a film are the film's."""
    theirs = Upload.user_id == erasure.user.id
    for state in (UploadState.RECEIVING, UploadState.HELD):
        for upload in s.scalars(select(Upload).where(theirs, Upload.state == state)).all():
            uploads.note_failed(s, upload, _REASON, was=state)
            erasure.after.append(partial(_remove, upload=upload))
    ids = select(Upload.id).where(theirs).scalar_subquery()
    s.execute(update(TusUpload).where(TusUpload.id.in_(ids)).values(title=_NAMELESS, described=None))
    s.execute(update(Import).where(Import.id.in_(ids)).values(url=""))
    s.execute(update(Upload).where(theirs).values(filename=_NAMELESS, title=None))


def _remove(services: Services, upload: Upload) -> None:
    with suppress(StorageError):  # a storage that is away: sweepers look for such bytes
        uploads.remove(services, upload)


def _upload(row: Upload, url: str | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "asset_id": row.asset_id,
        "filename": row.filename,
        "url": url,
        "size": row.received,
        "state": row.state,
        "created_at": http.time(row.created_at),
    }
