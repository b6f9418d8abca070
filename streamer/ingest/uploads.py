"""Uploads, from the first byte to a queued film.

Bytes grow on a local disk, durable before anything is answered, are put into storage as `sources/<asset>/<upload>`, and become an asset, its
version, a playback id and a transcode job in one transaction. Whatever goes wrong before that leaves nothing but a failed row; a process
that died in the middle is cleaned up after by `sweep` and, on its own machine, by `tidy`. File names are text, never paths.
"""

import hashlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import ColumnElement, CursorResult, exists, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from storage import StorageError
from streamer import db, ids
from streamer.catalog import assets, names, playback_ids, versions
from streamer.catalog.tables import Asset, Policy
from streamer.config import Ingest
from streamer.db import database_now
from streamer.errors import Conflict, Invalid, Problem, StorageExhausted, TooLarge
from streamer.events import outbox
from streamer.events.types import EventType
from streamer.ingest.tables import TusUpload, Upload, UploadState
from streamer.jobs import jobs, queues
from streamer.jobs.tables import Job
from streamer.problems import of as problem_of
from streamer.services import Services

_NOTE_S = 5.0
_SWEPT = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client said it will send; `size` in bytes, None when it did not say. Names are clean already."""

    filename: str
    title: str
    policy: Policy
    size: int | None


@dataclass(frozen=True, slots=True)
class Received:
    """What an upload became."""

    upload: Upload
    asset: Asset
    job: Job


def wanted(filename: str, title: str | None, policy: Policy, size: int | None, settings: Ingest) -> Wanted:
    """Check what can be checked before a byte is read."""
    if size is not None:
        check_size(size, settings)
    name = names.file_name(filename) or "upload"
    return Wanted(name, names.title(title) if title else names.title_of(name), policy, size)


def check_size(size: int, settings: Ingest) -> None:
    """Refuse what is empty or too large."""
    if size == 0:
        raise _empty()
    if size > settings.max_upload_bytes:
        raise _too_large(settings)


def policy(text: str) -> Policy:
    """Who may watch, as the client says it."""
    try:
        return Policy(text)
    except ValueError:
        raise Invalid(
            "policy must be private or public.", errors=[{"pointer": "/policy", "detail": text[:40]}]
        ) from None


def begin(services: Services, user_id: str, what: Wanted) -> Upload:
    """A row and an empty file. StorageExhausted when the disk would run full."""
    check_room(services, what.size or 0)
    upload = db.retrying(services, lambda s: add(s, user_id, what))
    services.uploads.create(upload.id)
    return upload


def add(s: Session, user_id: str, what: Wanted) -> Upload:
    """The row of an upload that begins."""
    upload_id, asset_id = ids.new("upl"), ids.new("ast")
    upload = Upload(
        id=upload_id,
        user_id=user_id,
        filename=what.filename,
        declared_size=what.size,
        received=0,
        state=UploadState.RECEIVING,
        source_key=f"sources/{asset_id}/{upload_id}",
        created_at=db.now(),
        updated_at=database_now(),
    )
    s.add(upload)
    s.flush()
    s.refresh(upload)
    return upload


def receive(services: Services, upload: Upload, batches: Iterator[bytes]) -> str:
    """Write the batches to disk; the SHA-256 of all of them. Durable when it returns."""
    meter = _Meter(services, upload)
    services.uploads.append(upload.id, 0, meter.passing(batches))
    if meter.size == 0:
        raise _empty()
    if upload.declared_size not in (None, meter.size):
        raise Invalid(f"{meter.size} of {upload.declared_size} bytes arrived; send the file again.", code="incomplete")
    upload.received = meter.size
    return meter.sha256.hexdigest()


def complete(services: Services, upload: Upload, what: Wanted, sha256: str) -> Received:
    """Put the file into storage and make it a film in the queue."""
    path = services.uploads.finish(upload.id)
    services.store.put(upload.source_key, path, type="application/octet-stream")
    source = versions.Source(upload.source_key, upload.filename, upload.received, sha256)
    done = db.retrying(services, lambda s: enter(s, services, upload, what, source))
    queues.dispatch(services, [done.job])
    drop(services, upload.id)
    return done


def enter(s: Session, services: Services, upload: Upload, what: Wanted, source: versions.Source) -> Received:
    """Make the stored source a film with a job. Conflict when the upload is not being received any more."""
    asset = assets.create(s, upload.user_id, what.title, asset_id=source.key.split("/")[1])
    version = versions.create(s, asset.id, source)
    playback_ids.create(s, asset.id, what.policy)
    max_attempts = services.config.jobs.max_attempts
    job = jobs.enqueue(s, "transcode", version.id, owner_id=upload.user_id, max_attempts=max_attempts)
    facts = {"asset_id": asset.id, "received": source.size, "sha256": source.sha256, "state": UploadState.RECEIVED}
    if not note(s, upload.id, **facts):
        raise Conflict("The upload was given up in the meantime; send the file again.", code="upload_expired")
    return Received(s.get_one(Upload, upload.id, populate_existing=True), asset, job)


def note(s: Session, upload_id: str, *only_if: ColumnElement[bool], **values: Any) -> bool:
    """Change the row of an upload that is still being received, and that it is alive; False when it is not."""
    still = Upload.id == upload_id, Upload.state == UploadState.RECEIVING
    statement = update(Upload).where(*still, *only_if).values(updated_at=database_now(), **values)
    result = s.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def drop(services: Services, *upload_ids: str) -> None:
    """Remove received files that are in storage now; what stays is for `tidy`."""
    try:
        for upload_id in upload_ids:
            services.uploads.abort(upload_id)
    except StorageError as error:
        log.warning("received file not removed", uploads=upload_ids, error=str(error))


def fail(services: Services, upload: Upload, error: BaseException) -> None:
    """Write down why, and remove what there is. Without a database that is left to `sweep`."""
    problem = problem_of(error) if isinstance(error, Exception) else Problem()
    reason = {"code": problem.code, "title": problem.title, "detail": problem.detail}
    if not isinstance(error, (Problem, StorageError, SQLAlchemyError)):
        reason = {
            "code": "connection_lost",
            "title": "The upload broke off",
            "detail": "The sender went away. Send the file again.",
        }
    _give_up(services, upload, reason)


def give_up(services: Services, upload: Upload, reason: dict[str, str], *only_if: ColumnElement[bool]) -> bool:
    """The row first: only if it was still being received may its bytes go. A finished upload is never touched."""
    if not db.retrying(services, lambda s: _note_failed(s, upload, reason, *only_if)):
        return False
    services.uploads.abort(upload.id)
    services.store.delete(upload.source_key)
    return True


def _note_failed(s: Session, upload: Upload, reason: dict[str, str], *only_if: ColumnElement[bool]) -> bool:
    noted = note(s, upload.id, *only_if, state=UploadState.FAILED, error=reason)
    if noted:
        told = {"id": upload.id, "user_id": upload.user_id, "filename": upload.filename, "error": reason}
        outbox.record(s, EventType.UPLOAD_FAILED, upload.id, told)
    return noted


def sweep(services: Services) -> int:
    """Remove what unfinished uploads left behind; how many there were. Those whose bytes are all there are never touched."""
    old = Upload.updated_at < database_now(-services.config.ingest.expire_s)
    with db.reading(services) as s:
        silent = select(Upload).where(Upload.state == UploadState.RECEIVING, old, ~_is_whole())
        abandoned = s.scalars(silent.limit(_SWEPT)).all()
    reason = {
        "code": "expired",
        "title": "The upload was never finished",
        "detail": "It was removed; send the file again.",
    }
    for upload in abandoned:
        _give_up(services, upload, reason, old)
    return len(abandoned)


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


def owned(s: Session, upload_id: str, user_id: str) -> Upload | None:
    """The upload, if it is this user's."""
    upload = s.get(Upload, upload_id) if ids.is_id(upload_id) else None
    return upload if upload is not None and upload.user_id == user_id else None


def _is_whole() -> ColumnElement[bool]:
    """A resumable upload was acknowledged to its last byte, so `films.settle` makes it a film, however late."""
    return exists().where(TusUpload.id == Upload.id, ~TusUpload.partial, Upload.received == Upload.declared_size)


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
                raise _too_large(self._services.config.ingest)
            self.sha256.update(batch)
            yield batch
            self._note()

    def _note(self) -> None:
        if time.monotonic() - self._noted < _NOTE_S:
            return
        self._noted = time.monotonic()
        check_room(self._services, 0)
        try:
            db.retrying(self._services, lambda s: note(s, self._upload.id, received=self.size))
        except SQLAlchemyError as error:
            log.warning("upload progress not noted", upload=self._upload.id, error=str(error))


def _give_up(services: Services, upload: Upload, reason: dict[str, str], *only_if: ColumnElement[bool]) -> None:
    try:
        give_up(services, upload, reason, *only_if)
    except (StorageError, SQLAlchemyError) as fault:
        log.warning("failed upload not cleaned up", upload=upload.id, error=str(fault))


def check_room(services: Services, size: int) -> None:
    """On a disk of our own the file is there twice for a moment: as an upload and as a source."""
    copies = 2 if services.config.storage_url.startswith("file:") else 1
    free = shutil.disk_usage(services.config.data.dir).free
    if free - copies * size < services.config.ingest.min_free_bytes:
        raise StorageExhausted(
            f"The server has {free >> 20} MiB left, which is not enough for this file. Ask its operator to make room."
        )


def _empty() -> Invalid:
    return Invalid("The file is empty. Choose the film itself and send it again.", code="empty_file")


def _too_large(settings: Ingest) -> TooLarge:
    return TooLarge(
        f"The file is larger than the {settings.max_upload_bytes:,} bytes this server takes.", code="file_too_large"
    )
