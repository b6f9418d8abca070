"""An early look at uploads: what the first bytes prove to be wrong is told while the rest still arrives, as the upload's `warning`.

Bytes that lie on the disk of the process that takes them it looks at itself, by the packager's child process with little memory and time;
no codec is ever loaded here. Two at a time; when more wait, they go without: a warning is a courtesy.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore

import structlog
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from packager import sandbox
from packager.errors import PackagerError
from packager.sandbox import Limits
from storage import StorageError
from storage.uploads import LocalUploads
from streamer import db
from streamer.ingest.tables import Upload, UploadState
from streamer.services import Services

MARKS = (2 << 20, 17 << 20)
"""Bytes received at which it is looked: a store may still hold back the last one or two MiB."""

LIMITS = Limits(memory_bytes=2 << 30, cpu_s=20, stall_s=10.0)
_AT_ONCE, _WAITING = 2, 16

log = structlog.get_logger(__name__)


def passed(services: Services, upload: Upload, before: int, after: int) -> None:
    """So many bytes of the upload are here now: look at them, in the background, if a mark lies between."""
    if not isinstance(services.uploads, LocalUploads):
        return
    if not services.config.ingest.glance or not any(before < mark <= after for mark in MARKS):
        return
    if not _room().acquire(blocking=False):
        return
    done = _lookers().submit(_look, services, upload.id, upload.declared_size)
    done.add_done_callback(lambda _: _room().release())


def verdict(path: Path, size: int | None) -> dict[str, str] | None:
    """What is certain to go wrong with the file whose beginning is at `path` and which will have `size` bytes."""
    for message in sandbox.run("glance", {"path": str(path), "size": size}, limits=LIMITS):
        if message.kind == "glance":
            return _checked(message.fields.get("verdict"))
    return None


def _look(services: Services, upload_id: str, size: int | None) -> None:
    assert isinstance(services.uploads, LocalUploads)  # `passed` looked
    try:
        told = verdict(services.uploads.path(upload_id), size)
        if told is not None:
            _note(services, upload_id, told)
    except (PackagerError, StorageError, SQLAlchemyError, OSError) as error:
        log.info("upload not looked at", upload=upload_id, error=str(error))


def _note(services: Services, upload_id: str, told: dict[str, str]) -> None:
    """Only while it arrives: later the encode says what is wrong, and knows better."""
    still = Upload.id == upload_id, Upload.state == UploadState.RECEIVING
    statement = update(Upload).where(*still).values(warning=told).execution_options(synchronize_session=False)
    db.retrying(services, lambda s: s.execute(statement))
    log.info("upload warned", upload=upload_id, code=told["code"])


def _checked(told: object) -> dict[str, str] | None:
    """A child that was taken over may send anything."""
    if not isinstance(told, dict):
        return None
    return {name: str(told.get(name, ""))[:500] for name in ("code", "title", "detail")}


@cache
def _lookers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="glance")


@cache
def _room() -> BoundedSemaphore:
    return BoundedSemaphore(_WAITING)
