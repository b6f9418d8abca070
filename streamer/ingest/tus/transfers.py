"""Resumable uploads: what a request does with the bytes of one. Says nothing in HTTP; `api` does.

How far an upload has come says the upload store, durable before anybody is told; the row only follows. One request at a time
writes: the store's lock says so in every process that reaches it. A HEAD is how a client comes back, so it makes the writer let go, and a
PATCH does if nothing comes to the writer: of two clients that both send, the first goes on. Whose upload it is was checked before.
"""

import time
from collections.abc import Iterator

import structlog
from sqlalchemy.exc import SQLAlchemyError

from storage import ObjectMissing, OffsetMismatch, StorageDown, StorageFull, UploadBusy
from streamer import db
from streamer.errors import Conflict, Forbidden, Gone, Invalid, TooLarge
from streamer.ingest import glance, held, uploads, wanted
from streamer.ingest.digests import digests, passing
from streamer.ingest.tables import Upload, UploadState
from streamer.ingest.tus import films, rows
from streamer.ingest.tus.protocol import Checksum
from streamer.ingest.tus.rows import Opening, Resumable
from streamer.services import Services

_NOTE_S = 5.0
log = structlog.get_logger(__name__)

_TERMINATED = {"code": "terminated", "title": "The upload was ended", "detail": "Whoever sent it ended it."}


class WrongOffset(Conflict):
    """The bytes don't begin where the upload ends."""

    default_code, title = "tus_offset", "The upload does not end there"

    def __init__(self, size: int) -> None:
        detail = f"It ends at byte {size}: send what comes after that."
        super().__init__(detail, headers={"Upload-Offset": str(size)})


def create(services: Services, user_id: str, opening: Opening) -> Resumable:
    """A new, empty upload, if the user may have another one of this size."""
    wanted.check_room(services, opening.what.size or 0)
    made = db.retrying(services, lambda s: rows.insert(s, services, user_id, opening))
    services.uploads.create(made.id, None if made.tus.partial else made.upload.source_key)
    return made


def offset(services: Services, found: Resumable) -> tuple[Resumable, int | None]:
    """How far it has come, None for a whole whose parts are not joined yet. One whose bytes are all there becomes a film now.

    If storage does not take it, that is not the client's concern any more: the bytes are durable here and go there later.
    """
    if found.is_received:
        return found, found.upload.received
    if found.tus.parts is not None:
        return found, None
    try:
        size = _size(services, found)
        if size > found.upload.received:  # a process died before it could tell the row
            db.retrying(services, lambda s: uploads.note(s, found.id, received=size))
        if size == found.upload.declared_size and not found.tus.partial:
            found = _completed(services, found)
    except (StorageDown, StorageFull) as error:
        log.warning("whole upload not made a film yet", upload=found.id, error=str(error))
    except ObjectMissing:
        found = rows.received(services, found)
        return found, found.upload.received
    return found, size


def declare(services: Services, found: Resumable, size: int) -> Resumable:
    """Set the length that the client did not know at first. It is said once."""
    if found.upload.declared_size not in (None, size):
        raise Invalid("The length of this upload is known already and does not change.", code="tus_length")
    if found.upload.declared_size is None:
        if size < _size(services, found):
            raise Invalid("More bytes than that are here already.", code="tus_length")
        wanted.check_size(size, services.config.ingest)
        db.retrying(services, lambda s: uploads.note(s, found.id, Upload.declared_size.is_(None), declared_size=size))
    return rows.find(services, found.upload.user_id, found.id)


def append(
    services: Services, found: Resumable, offset: int, batches: Iterator[bytes], checksum: Checksum | None
) -> int:
    """Add the batches at `offset`; the new offset, durable. Brings the film about when it was the last byte."""
    watch, value = _Watch(services, found, offset), digests().begin(found.id, offset)
    if not found.tus.partial:
        batches = glance.passing(services, found.upload, offset, batches)
    arriving = passing(watch.passing(batches), value)
    try:
        checked = checksum.passing(arriving) if checksum else arriving
        size = services.uploads.append(found.id, offset, checked, whole=checksum is not None)
    except ConnectionAbortedError:
        if checksum is None:  # else nothing of it was kept
            digests().keep(found.id, watch.size, value)
            watch.broken_off()
        raise
    except OffsetMismatch as error:
        raise WrongOffset(error.size) from error
    except ObjectMissing as error:
        raise WrongOffset(rows.received(services, found).upload.received) from error
    digests().keep(found.id, size, value)
    if not db.retrying(services, lambda s: uploads.note(s, found.id, received=size)):
        rows.find(services, found.upload.user_id, found.id)  # Gone, unless another request made the film of it
    if size == found.upload.declared_size and not found.tus.partial:
        _completed(services, found)
    return size


def check_writable(services: Services, found: Resumable, offset: int, size: int | None) -> None:
    """Refuse what can be refused before a byte is read: `size` bytes at `offset`, None when the client did not say how many."""
    if found.tus.parts is not None:
        raise Forbidden("This upload is made of parts; nothing can be added to it.", code="tus_final")
    if found.is_received and offset != found.upload.received:
        raise WrongOffset(found.upload.received)
    if offset + (size or 0) > (room := _room(services, found)):
        raise _past_the_end(room)


def terminate(services: Services, found: Resumable) -> None:
    """End the upload and remove its bytes, also while it is held back. What has become a film is not ended here."""
    if found.upload.state == UploadState.HELD:
        held.discard(services, found.upload.user_id, found.id)
    elif not uploads.give_up(services, found.upload, _TERMINATED):
        rows.find(services, found.upload.user_id, found.id)  # Gone when somebody else ended it
        raise Conflict("The upload has become a film; delete the film instead.", code="upload_finished")


def _completed(services: Services, found: Resumable) -> Resumable:
    """The film, or the upload as it is while another request makes the film: its bytes are safe, so nobody has to wait for that."""
    try:
        return films.complete(services, found)
    except UploadBusy:
        return found


def _size(services: Services, found: Resumable) -> int:
    """From the file; from the row while somebody holds the file, if the row says that all is there."""
    try:
        return services.uploads.size(found.id)
    except UploadBusy:
        if found.upload.received != found.upload.declared_size:
            raise
        return found.upload.received


def _room(services: Services, found: Resumable) -> int:
    """Where the upload ends at the latest."""
    size = found.upload.declared_size
    return services.config.ingest.max_upload_bytes if size is None else size


class _Watch:
    """Looks at the batches as they pass: holds the limit, and tells the row now and then that the upload is alive."""

    def __init__(self, services: Services, found: Resumable, offset: int) -> None:
        self._services, self._found, self.size = services, found, offset
        self._room = _room(services, found)

    def passing(self, batches: Iterator[bytes]) -> Iterator[bytes]:
        noted = time.monotonic()
        for batch in batches:
            if self.size + len(batch) > self._room:
                raise _past_the_end(self._room)
            self.size += len(batch)
            yield batch
            if time.monotonic() - noted > _NOTE_S and self.size < self._room:
                noted = time.monotonic()
                _tell(self._services, self._found, self.size)

    def broken_off(self) -> None:
        """The row follows, for whoever looks there; not to all of it, since that makes films and needs more care."""
        if self.size == self._room:
            return
        farther = Upload.received < self.size
        try:
            db.retrying(self._services, lambda s: uploads.note(s, self._found.id, farther, received=self.size))
        except SQLAlchemyError as error:
            log.warning("upload progress not noted", upload=self._found.id, error=str(error))


def _tell(services: Services, found: Resumable, size: int) -> None:
    wanted.check_room(services, 0)
    if not db.retrying(services, lambda s: uploads.note(s, found.id, received=size)):
        raise Gone("It was ended in the meantime.", code="upload_gone")


def _past_the_end(room: int) -> TooLarge:
    return TooLarge(f"The upload ends at byte {room}; nothing comes after that.", code="tus_past_the_end")
