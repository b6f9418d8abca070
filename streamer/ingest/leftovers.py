"""What uploads that nobody finishes leave behind: rows and stored bytes, for the scheduler; files, for each machine that has some."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.orm import Session

from streamer import db, ids, retention
from streamer.db import database_now
from streamer.ingest import uploads
from streamer.ingest.tables import Import, TusUpload, Upload, UploadState
from streamer.services import Services

_SWEPT = 100


def sweep(services: Services) -> int:
    """Remove what unfinished uploads left behind; how many there were. Those whose bytes are all there are never touched."""
    old = Upload.updated_at < database_now(-services.config.ingest.expire_s)
    with db.reading(services) as s:
        silent = select(Upload).where(Upload.state == UploadState.RECEIVING, old, ~_is_whole(), ~_is_fetched())
        abandoned = s.scalars(silent.limit(_SWEPT)).all()
    reason = {
        "code": "expired",
        "title": "The upload was never finished",
        "detail": "It was removed; send the file again.",
    }
    for upload in abandoned:
        uploads.abandon(services, upload, reason, old)
    return len(abandoned)


def purge(services: Services) -> int:
    """Remove the rows of uploads that failed long ago; how many there were. No store has anything of them."""
    old = (
        Upload.state == UploadState.FAILED,
        Upload.updated_at < retention.before(services.config.retention.uploads_days),
    )
    with db.reading(services) as s:
        found = s.scalars(select(Upload.id).where(*old).order_by(Upload.updated_at).limit(_SWEPT)).all()
    return db.retrying(services, lambda s: _remove(s, found)) if found else 0


def _remove(s: Session, upload_ids: Sequence[str]) -> int:
    """Those that were not begun again meanwhile, as an import may be."""
    failed = Upload.id.in_(upload_ids), Upload.state == UploadState.FAILED
    still = s.scalars(select(Upload.id).where(*failed).with_for_update()).all()
    for table in (TusUpload, Import, Upload):
        s.execute(delete(table).where(table.id.in_(still)))
    return len(still)


def tidy(services: Services) -> int:
    """Remove the files on this machine that no upload is growing: `sweep` runs elsewhere and reaches only the disk there. How many."""
    here = [upload_id for upload_id in services.uploads.ids() if ids.is_id(upload_id)]
    if not here:
        return 0
    growing = select(Upload.id).where(Upload.state == UploadState.RECEIVING, Upload.id.in_(here))
    with db.reading(services) as s:
        left = set(here) - set(s.scalars(growing))
    for upload_id in left:
        services.uploads.abort(upload_id)
    return len(left)


def _is_fetched() -> ColumnElement[bool]:
    """An import's job lives as long as the import, in the queue too, and ends with it."""
    return exists().where(Import.id == Upload.id)


def _is_whole() -> ColumnElement[bool]:
    """A resumable upload was acknowledged to its last byte, so `films.settle` makes it a film, however late."""
    return exists().where(TusUpload.id == Upload.id, ~TusUpload.partial, Upload.received == Upload.declared_size)
