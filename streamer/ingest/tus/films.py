"""Films of resumable uploads whose bytes are all there: of one, or of parts that are joined.

A film is made in the request that brought the last byte; if that fails, in the next one that asks or by a web process of this machine, which
looks now and then (`settle`). It is made once: the row says which. A whole made of parts has no bytes of its own: the upload store joins theirs.
"""

from collections.abc import Sequence
from contextlib import ExitStack

import structlog
from sqlalchemy import Select, delete, or_
from sqlalchemy.orm import Session

from storage import ObjectMissing, PartsChanged, StorageError, UploadBusy
from streamer import db
from streamer.catalog.again import FilmGone
from streamer.catalog.tables import Policy
from streamer.catalog.versions import Source
from streamer.errors import Conflict, Gone, Invalid, Problem
from streamer.ingest import uploads
from streamer.ingest.digests import digests, of_object
from streamer.ingest.tables import TusUpload, Upload, UploadState
from streamer.ingest.tus import rows
from streamer.ingest.tus.rows import Opening, Resumable
from streamer.ingest.wanted import Wanted
from streamer.jobs import queues
from streamer.services import Services

_CHANGED = {
    "code": "parts_changed",
    "title": "The upload was changed",
    "detail": "Its bytes are not those that were counted when it was complete. Send the file again.",
}

log = structlog.get_logger(__name__)


def join(services: Services, user_id: str, opening: Opening, parts: Sequence[str]) -> Resumable:
    """One film of finished parts, which go. Asked for again, it is the same one."""

    def begun(s: Session) -> Resumable:
        return rows.whole_of(s, user_id, parts) or rows.insert(s, services, user_id, opening)

    found = db.retrying(services, begun)
    return found if found.is_received else complete(services, found)


def size_of_parts(services: Services, user_id: str, parts: Sequence[str]) -> int | None:
    """What they come to, or the refusal that says which is not ready."""
    with db.reading(services) as s:
        if (whole := rows.whole_of(s, user_id, parts)) is not None:
            return whole.upload.declared_size
        return sum(_size_of_part(rows.owned(s, user_id, part)) for part in parts)


def complete(services: Services, found: Resumable) -> Resumable:
    """Make a film of an upload whose bytes are all there; what it is when somebody else just did. UploadBusy while they do.

    FilmGone, and the upload has failed, when it was for a film that is not there any more.
    """
    parts = found.tus.parts.split() if found.tus.parts else [found.id]
    what = Wanted(found.upload.filename, found.tus.title, Policy(found.tus.policy), found.upload.declared_size)
    try:
        with ExitStack() as held:
            sizes = [held.enter_context(services.uploads.hold(part)) for part in sorted(parts)]
            if (now := rows.find(services, found.upload.user_id, found.id)).is_received:
                return now  # whoever held it before us made the film
            if sum(sizes) != found.upload.declared_size:
                raise rows.lost()
            source = _put(services, found.upload, parts)
            done = db.retrying(services, lambda s: _enter(s, services, found, what, source, parts))
            uploads.drop(services, *parts)
    except (ObjectMissing, Conflict):
        return _made_elsewhere(services, found)
    except FilmGone as gone:
        uploads.give_up(services, found.upload, {"code": gone.code, "title": gone.title, "detail": gone.detail})
        raise
    except PartsChanged as error:
        uploads.give_up(services, found.upload, _CHANGED)
        raise Conflict(_CHANGED["detail"], code=_CHANGED["code"]) from error
    queues.dispatch(services, done.jobs)
    return Resumable(done.upload, found.tus)


def settle(services: Services) -> tuple[int, int]:
    """Make films of whole uploads whose process died or whose storage failed. How many, and how many wait for the next time."""
    with db.reading(services) as s:
        waiting = [Resumable(*row) for row in s.execute(_whole_ones())]
    made = sum(_settled(services, found) for found in waiting)
    return made, len(waiting) - made


def _whole_ones() -> Select[Upload, TusUpload]:
    whole = or_(Upload.received == Upload.declared_size, TusUpload.parts.is_not(None))
    return rows.both().where(Upload.state == UploadState.RECEIVING, ~TusUpload.partial, whole)


def _settled(services: Services, found: Resumable) -> bool:
    try:
        return complete(services, found).is_received
    except UploadBusy:
        return False  # a request is at it
    except (Problem, StorageError) as error:
        log.warning("whole upload not made a film", upload=found.id, error=str(error))
        return False


def _made_elsewhere(services: Services, found: Resumable) -> Resumable:
    try:
        return rows.received(services, found)
    except Gone:
        services.store.delete(found.upload.source_key)  # it was given up while its bytes were on their way
        raise


def _size_of_part(part: Resumable) -> int:
    if part.upload.state == UploadState.FAILED:
        raise Gone(f"The part {part.id} was ended or has expired.", code="upload_gone")
    if not part.tus.partial:
        raise Invalid(f"{part.id} did not begin as a part (`Upload-Concat: partial`).", code="tus_concat")
    if part.upload.declared_size is None or part.upload.received != part.upload.declared_size:
        raise Conflict(f"The part {part.id} is not finished yet.", code="part_unfinished")
    return part.upload.declared_size


def _put(services: Services, upload: Upload, parts: Sequence[str]) -> Source:
    """Have the object made; its hash from whoever saw all of the bytes, else by reading it."""
    size, key = upload.declared_size or 0, upload.source_key
    passed = services.uploads.finish(parts, key)
    known = digests().whole(parts[0], size) if len(parts) == 1 else None
    return Source(key, upload.filename, size, passed or known or of_object(services.store, key))


def _enter(
    s: Session, services: Services, found: Resumable, what: Wanted, source: Source, parts: Sequence[str]
) -> uploads.Received:
    done = uploads.enter(s, services, found.upload, what, source)
    if found.tus.parts is not None:
        s.execute(delete(TusUpload).where(TusUpload.id.in_(parts)))
        s.execute(delete(Upload).where(Upload.id.in_(parts)))
    return done
