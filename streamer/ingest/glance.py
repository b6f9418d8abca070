"""An early look at uploads: what the first bytes prove to be wrong is told while the rest still arrives, as the upload's `warning`.

The process that takes the bytes looks at them, by the packager's child process with little memory and time; no codec is ever loaded here. Two
at a time; when more wait, they go without: a warning is a courtesy. On a disk the file itself is looked at, twice. Object storage gives back
no part of an object that is not whole, so there the first two megabytes are kept in memory as they pass, of sixteen uploads at most, and looked at once.
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
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


def passing(services: Services, upload: Upload, offset: int, batches: Iterator[bytes]) -> Iterator[bytes]:
    """The batches that come at `offset`; when enough of the upload is here, what it begins with is looked at in the background."""
    if not services.config.ingest.glance:
        return batches
    if isinstance(services.uploads, LocalUploads):
        return _marked(services, upload, services.uploads.path, offset, batches)
    return _kept(services, upload, batches) if offset == 0 else batches


def verdict(path: Path, size: int | None) -> dict[str, str] | None:
    """What is certain to go wrong with the file whose beginning is at `path` and which will have `size` bytes."""
    for message in sandbox.run("glance", {"path": str(path), "size": size}, limits=LIMITS):
        if message.kind == "glance":
            return _checked(message.fields.get("verdict"))
    return None


def _marked(
    services: Services, upload: Upload, path: Callable[[str], Path], size: int, batches: Iterator[bytes]
) -> Iterator[bytes]:
    for batch in batches:
        yield batch
        before, size = size, size + len(batch)
        if any(before < mark <= size for mark in MARKS) and _room().acquire(blocking=False):
            _begin(services, upload, lambda: verdict(path(upload.id), upload.declared_size))


def _kept(services: Services, upload: Upload, batches: Iterator[bytes]) -> Iterator[bytes]:
    if not _room().acquire(blocking=False):
        yield from batches
        return
    kept: list[bytes] | None = []
    size = 0
    try:
        for batch in batches:
            yield batch
            if kept is not None:
                kept.append(batch)
                size += len(batch)
                if size >= MARKS[0]:
                    _begin(services, upload, partial(_of_bytes, kept, upload.declared_size))
                    kept = None
    finally:
        if kept is not None:
            _room().release()


def _begin(services: Services, upload: Upload, looked: Callable[[], dict[str, str] | None]) -> None:
    """The caller has taken a place in the room."""
    done = _lookers().submit(_look, services, upload.id, looked)
    done.add_done_callback(lambda _: _room().release())


def _look(services: Services, upload_id: str, looked: Callable[[], dict[str, str] | None]) -> None:
    try:
        if (told := looked()) is not None:
            _note(services, upload_id, told)
    except (PackagerError, StorageError, SQLAlchemyError, OSError) as error:
        log.info("upload not looked at", upload=upload_id, error=str(error))


def _of_bytes(head: list[bytes], size: int | None) -> dict[str, str] | None:
    """The child wants a file: there are as many as look at a time, and none stays."""
    with tempfile.NamedTemporaryFile(prefix="streamer-glance-") as file:
        file.writelines(head)
        file.flush()
        return verdict(Path(file.name), size)


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
