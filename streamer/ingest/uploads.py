"""Uploads, from the first byte to a queued film.

Bytes grow in the upload store, durable before anything is answered, are made the object `sources/<asset>/<upload>`, and become an asset, its
version, a playback id and a transcode job in one transaction; if the client named a film, only a version of that and its job. Whatever goes
wrong before that leaves nothing but a failed row; a process that died in the middle is cleaned up after by `leftovers`. File names are text,
never paths.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import ColumnElement, CursorResult, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from storage import StorageError
from streamer import db, ids
from streamer.accounts import audit
from streamer.catalog import again, assets, playback_ids, versions
from streamer.catalog.tables import Asset, Version
from streamer.db import database_now
from streamer.errors import Conflict, Invalid, Problem
from streamer.events import outbox
from streamer.events.types import EventType
from streamer.ingest import duplicates, glance, wanted
from streamer.ingest.tables import Upload, UploadState
from streamer.ingest.wanted import Wanted
from streamer.jobs import jobs, queues
from streamer.jobs.tables import Job
from streamer.problems import of as problem_of
from streamer.services import Services

_NOTE_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """What an upload became: a film and the job that encodes it, or neither while it is held back as a duplicate."""

    upload: Upload
    asset: Asset | None = None
    job: Job | None = None

    @property
    def jobs(self) -> list[Job]:
        """What is to be dispatched after the commit."""
        return [self.job] if self.job else []


def begin(services: Services, user_id: str, what: Wanted) -> Upload:
    """A row and an empty file. StorageExhausted when the disk would run full."""
    wanted.check_room(services, what.size or 0)
    upload = db.retrying(services, lambda s: add(s, user_id, what))
    services.uploads.create(upload.id, upload.source_key)
    return upload


def add(s: Session, user_id: str, what: Wanted) -> Upload:
    """The row of an upload that begins."""
    upload_id, asset_id = ids.new("upl"), what.asset_id or ids.new("ast")
    upload = Upload(
        id=upload_id,
        user_id=user_id,
        filename=what.filename,
        declared_size=what.size,
        received=0,
        state=UploadState.RECEIVING,
        source_key=f"sources/{asset_id}/{upload_id}",
        replaces=what.asset_id,
        title=what.title,
        policy=what.policy,
        on_duplicate=what.on_duplicate,
        created_at=db.now(),
        updated_at=database_now(),
    )
    s.add(upload)
    s.flush()
    s.refresh(upload)
    facts = {"filename": upload.filename, "size": upload.declared_size, "asset_id": upload.replaces}
    audit.record(s, "upload.create", upload.id, after=facts, person=user_id)
    return upload


def receive(services: Services, upload: Upload, batches: Iterator[bytes]) -> str:
    """Write the batches down; the SHA-256 of all of them. Durable when it returns."""
    meter = _Meter(services, upload)
    services.uploads.append(upload.id, 0, meter.passing(glance.passing(services, upload, 0, batches)))
    if meter.size == 0:
        raise wanted.empty()
    if upload.declared_size not in (None, meter.size):
        raise Invalid(f"{meter.size} of {upload.declared_size} bytes arrived; send the file again.", code="incomplete")
    upload.received = meter.size
    return meter.sha256.hexdigest()


def complete(services: Services, upload: Upload, what: Wanted, sha256: str) -> Received:
    """Have the upload made an object, and a film in the queue."""
    with services.uploads.hold(upload.id):
        services.uploads.finish([upload.id], upload.source_key)
    source = versions.Source(upload.source_key, upload.filename, upload.received, sha256)
    done = db.retrying(services, lambda s: enter(s, services, upload, what, source))
    queues.dispatch(services, done.jobs)
    drop(services, upload.id)
    return done


def enter(s: Session, services: Services, upload: Upload, what: Wanted, source: versions.Source) -> Received:
    """Make the stored source a film with a job, or hold it back if its sender wants to be asked about duplicates.

    Conflict when the upload is not being received any more.
    """
    original = None if upload.replaces else duplicates.of(s, upload, source.sha256)
    if original is None:
        return film(s, services, upload, what, source)
    _moved(s, upload, UploadState.RECEIVING, UploadState.HELD, source, duplicate_of=original.id, title=what.title, policy=what.policy)  # fmt: skip
    held = s.get_one(Upload, upload.id, populate_existing=True)
    told = {"id": held.id, "user_id": held.user_id, "filename": held.filename, "duplicate_of": original.id}
    outbox.record(s, EventType.UPLOAD_HELD, held.id, told)
    return Received(held)


def film(
    s: Session,
    services: Services,
    upload: Upload,
    what: Wanted,
    source: versions.Source,
    *,
    was: UploadState = UploadState.RECEIVING,
) -> Received:
    """Make the stored source a film, or a version of the one it replaces the file of, with a job, whatever other films there are.

    Conflict when the upload is not in the state `was` any more, FilmGone when that film is not there.
    """
    asset, version = _film(s, upload, what, source)
    max_attempts = services.config.jobs.max_attempts
    job = jobs.enqueue(s, "transcode", version.id, owner_id=upload.user_id, max_attempts=max_attempts)
    _moved(s, upload, was, UploadState.RECEIVED, source, asset_id=asset.id)
    return Received(s.get_one(Upload, upload.id, populate_existing=True), asset, job)


def _film(s: Session, upload: Upload, what: Wanted, source: versions.Source) -> tuple[Asset, Version]:
    if upload.replaces is not None:
        return again.of_file(s, upload.replaces, source, upload.user_id)
    asset = assets.create(s, upload.user_id, what.title, asset_id=source.key.split("/")[1])
    playback_ids.create(s, asset.id, what.policy)
    return asset, versions.create(s, asset.id, source, made_by=upload.user_id)


def note(
    s: Session, upload_id: str, *only_if: ColumnElement[bool], was: UploadState = UploadState.RECEIVING, **values: Any
) -> bool:
    """Change the row of an upload that is still being received, and that it is alive; False when it is not."""
    still = Upload.id == upload_id, Upload.state == was
    statement = update(Upload).where(*still, *only_if).values(updated_at=database_now(), **values)
    result = s.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def drop(services: Services, *upload_ids: str) -> None:
    """Remove received files that are in storage now; what stays is for `leftovers.tidy`."""
    try:
        for upload_id in upload_ids:
            services.uploads.abort(upload_id)
    except StorageError as error:
        log.warning("received file not removed", uploads=upload_ids, error=str(error))


def fail(services: Services, upload: Upload, error: BaseException) -> None:
    """Write down why, and remove what there is. Without a database that is left to `leftovers.sweep`."""
    problem = problem_of(error) if isinstance(error, Exception) else Problem()
    reason = {"code": problem.code, "title": problem.title, "detail": problem.detail}
    if not isinstance(error, (Problem, StorageError, SQLAlchemyError)):
        reason = {
            "code": "connection_lost",
            "title": "The upload broke off",
            "detail": "The sender went away. Send the file again.",
        }
    abandon(services, upload, reason)


def give_up(
    services: Services,
    upload: Upload,
    reason: dict[str, Any],
    *only_if: ColumnElement[bool],
    was: UploadState = UploadState.RECEIVING,
) -> bool:
    """The row first: only if it was still being received (or `was` something else) may its bytes go. A film is never touched."""
    if not db.retrying(services, lambda s: note_failed(s, upload, reason, *only_if, was=was)):
        return False
    remove(services, upload)
    return True


def abandon(services: Services, upload: Upload, reason: dict[str, str], *only_if: ColumnElement[bool]) -> None:
    """`give_up`, left to `leftovers.sweep` when a server it needs is away."""
    try:
        give_up(services, upload, reason, *only_if)
    except (StorageError, SQLAlchemyError) as fault:
        log.warning("failed upload not cleaned up", upload=upload.id, error=str(fault))


def note_failed(
    s: Session,
    upload: Upload,
    reason: dict[str, Any],
    *only_if: ColumnElement[bool],
    was: UploadState = UploadState.RECEIVING,
) -> bool:
    """The row and the event of an upload that comes to nothing; its bytes are the caller's to remove. False when it is past that."""
    noted = note(s, upload.id, *only_if, was=was, state=UploadState.FAILED, error=reason)
    if noted:
        told = {"id": upload.id, "user_id": upload.user_id, "filename": upload.filename, "error": reason}
        outbox.record(s, EventType.UPLOAD_FAILED, upload.id, told)
        audit.record(s, "upload.fail", upload.id, after={"reason": reason["code"]})
    return noted


def remove(services: Services, upload: Upload) -> None:
    """What there is of its bytes, in the upload store and in storage."""
    services.uploads.abort(upload.id)
    services.store.delete(upload.source_key)


def owned(s: Session, upload_id: str, user_id: str) -> Upload | None:
    """The upload, if it is this user's."""
    upload = s.get(Upload, upload_id) if ids.is_id(upload_id) else None
    return upload if upload is not None and upload.user_id == user_id else None


def _moved(
    s: Session, upload: Upload, was: UploadState, state: UploadState, source: versions.Source, **values: Any
) -> None:
    facts = {"received": source.size, "sha256": source.sha256, "state": state, **values}
    if not note(s, upload.id, was=was, **facts):
        raise Conflict("The upload was given up in the meantime; send the file again.", code="upload_expired")
    audit.record(
        s,
        "upload.end",
        upload.id,
        after={"state": str(state), "asset_id": values.get("asset_id"), "sha256": source.sha256},
    )


class _Meter:
    """Looks at the batches as they pass: counts, hashes, holds the limit, and notes now and then how far it is."""

    def __init__(self, services: Services, upload: Upload) -> None:
        self.size, self.sha256 = 0, hashlib.sha256()
        self._services, self._upload, self._noted = services, upload, time.monotonic()

    def passing(self, batches: Iterator[bytes]) -> Iterator[bytes]:
        limit = self._services.config.ingest.max_upload_bytes
        for batch in batches:
            self.size += len(batch)
            if self.size > limit:
                raise wanted.too_large(self._services.config.ingest)
            self.sha256.update(batch)
            yield batch
            self._note()

    def _note(self) -> None:
        if time.monotonic() - self._noted < _NOTE_S:
            return
        self._noted = time.monotonic()
        wanted.check_room(self._services, 0)
        try:
            db.retrying(self._services, lambda s: note(s, self._upload.id, received=self.size))
        except SQLAlchemyError as error:
            log.warning("upload progress not noted", upload=self._upload.id, error=str(error))
