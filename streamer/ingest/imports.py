"""Imports: uploads that the server fetches itself from a URL, each by a job of its own (`fetch`).

The upload's row is like any other's; it comes to nothing when its job is cancelled or fails for good, in the same transaction, and is
taken up again when the job is retried.
"""

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from streamer import db, outbound
from streamer.config import Outbound
from streamer.db import database_now
from streamer.errors import Invalid
from streamer.ingest import remote, shares, uploads, wanted
from streamer.ingest.tables import Import, Upload, UploadState
from streamer.ingest.wanted import Wanted
from streamer.jobs import jobs, queues
from streamer.jobs.tables import Job, State
from streamer.outbound import Refused
from streamer.services import Services

KIND = "fetch"
TRIES = 10
"""Attempts that bring nothing new; with the pauses between them, half an hour in which the other server may be away."""

_CANCELLED = {"code": "cancelled", "title": "The import was cancelled", "detail": "Somebody stopped it."}


def checked(url: str, rules: Outbound) -> str:
    """The URL, if it may be fetched as far as its text tells; else Invalid."""
    url = url.partition("#")[0].strip()
    try:
        outbound.check(url, rules)
    except Refused as refused:
        raise Invalid(
            f"The url can't be used: {refused}.", errors=[{"pointer": "/url", "detail": str(refused)}]
        ) from None
    return url


def filename(url: str) -> str:
    """What the film is called until the other server says otherwise."""
    return remote.name_of(url)


def begin(services: Services, user_id: str, url: str, what: Wanted, title: str | None) -> Upload:
    """The rows and the job. Without a `title` the film gets one from the file's name, as soon as that is known."""
    wanted.check_room(services, 0)

    def begun(s: Session) -> tuple[Upload, Job]:
        shares.check(s, services.config.ingest, user_id, 0)
        upload = uploads.add(s, user_id, what)
        upload.title = title
        s.add(Import(id=upload.id, url=url))
        s.flush()
        return upload, jobs.enqueue(s, KIND, upload.id, owner_id=user_id, max_attempts=TRIES)

    upload, job = db.retrying(services, begun)
    queues.dispatch(services, [job])
    return upload


def follow(s: Session, job: Job) -> None:
    """Keep the upload in step with its job (see `jobs.kinds`). What is a film already stays one."""
    upload = s.get(Upload, job.subject_id, populate_existing=True)
    if upload is None:
        return
    if job.state == State.CANCELLED:
        uploads.note_failed(s, upload, _CANCELLED)
    elif job.state == State.FAILED:
        uploads.note_failed(s, upload, job.error or {})
    elif job.state == State.QUEUED:
        _reopen(s, upload)


def _reopen(s: Session, upload: Upload) -> None:
    """Its bytes went when it failed; the work sees how many are left."""
    again: dict[str, Any] = {"state": UploadState.RECEIVING, "error": None, "updated_at": database_now()}
    failed = Upload.id == upload.id, Upload.state == UploadState.FAILED
    s.execute(update(Upload).where(*failed).values(**again).execution_options(synchronize_session=False))
