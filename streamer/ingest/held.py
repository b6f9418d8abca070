"""Uploads held back because a film has the same bytes. They are safe in storage as the source of the film they may become.

Their sender decides: `keep` makes the film anyway, `discard` drops the bytes. Who never decides has them discarded after `ingest.hold_s`:
nothing is lost by that, unless the other film is gone by then or could not be made, and then this one is.
"""

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from storage import StorageError
from streamer import db
from streamer.catalog.tables import Policy
from streamer.catalog.versions import Source
from streamer.db import database_now
from streamer.errors import Conflict, NotFound, Problem
from streamer.ingest import duplicates, uploads
from streamer.ingest.tables import Upload, UploadState
from streamer.ingest.uploads import Received
from streamer.ingest.wanted import Wanted
from streamer.jobs import queues
from streamer.services import Services

_SWEPT = 100
_DISCARDED = {
    "code": "duplicate_discarded",
    "title": "The duplicate was discarded",
    "detail": "A film with the same bytes was there already.",
}

log = structlog.get_logger(__name__)


def keep(services: Services, user_id: str, upload_id: str) -> Received:
    """Make it a film though there is one with the same bytes."""

    def made(s: Session) -> Received:
        upload = _held(s, user_id, upload_id)
        what = Wanted(upload.filename, upload.title or upload.filename, Policy(upload.policy or Policy.PRIVATE), None)
        source = Source(upload.source_key, upload.filename, upload.received, upload.sha256 or "")
        return uploads.film(s, services, upload, what, source, was=UploadState.HELD)

    done = db.retrying(services, made)
    queues.dispatch(services, done.jobs)
    return done


def discard(services: Services, user_id: str, upload_id: str) -> Upload:
    """Drop it; the film it equals stays."""
    with db.reading(services) as s:
        upload = _held(s, user_id, upload_id)
    if not uploads.give_up(services, upload, _DISCARDED, was=UploadState.HELD):
        raise _decided()
    with db.reading(services) as s:
        return s.get_one(Upload, upload_id)


def sweep(services: Services) -> int:
    """A chore: decide for those who never did; how many that were."""
    old = Upload.updated_at < database_now(-services.config.ingest.hold_s)
    with db.reading(services) as s:
        forgotten = s.scalars(select(Upload).where(Upload.state == UploadState.HELD, old).limit(_SWEPT)).all()
        there = duplicates.still(s, forgotten)
    for upload in forgotten:
        _decide(services, upload, keeping=upload.id not in there)
    return len(forgotten)


def _decide(services: Services, upload: Upload, *, keeping: bool) -> None:
    try:
        (keep if keeping else discard)(services, upload.user_id, upload.id)
    except (Problem, SQLAlchemyError, StorageError) as error:
        log.warning("held upload not decided", upload=upload.id, error=str(error))


def _held(s: Session, user_id: str, upload_id: str) -> Upload:
    upload = uploads.owned(s, upload_id, user_id)
    if upload is None:
        raise NotFound("You have no upload with this id.")
    if upload.state != UploadState.HELD:
        raise _decided()
    return upload


def _decided() -> Conflict:
    return Conflict(
        "This upload does not wait for a decision, or not any more; look at its state.", code="upload_not_held"
    )
