"""Uploads in parts by signed URL: the bytes never pass by here, so everything about them is checked before a URL is signed and after they came.

Before: who may, quota and limits, and each URL takes exactly the bytes of one part. Until `complete` the parts belong to an object below
`incoming/` that nobody reads. Then the store is asked what it has, and only if that is the declared film, byte for byte in number, the upload
becomes a film as any other does (`tus.films`): a copy inside the store to its source key, its hash by reading that, rows, a job.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from storage import ObjectMissing
from storage.base import Part
from storage.stored_uploads import PART_SIZE, StoredUploads
from streamer import db
from streamer.errors import Conflict, Gone, Invalid, NotFound, Problem
from streamer.ingest import uploads
from streamer.ingest.tus import films, rows
from streamer.ingest.tus.rows import Opening, Resumable
from streamer.ingest.wanted import Wanted
from streamer.services import Services

PARTS_MAX = 8192
"""Below S3's 10,000."""

AT_ONCE = 100
"""URLs that one request may ask for."""


class NotHere(Problem):
    """This server keeps uploads on its disk."""

    status, default_code, title = 501, "multipart_unavailable", "Uploads in parts are not available on this server"


@dataclass(frozen=True, slots=True)
class SignedPart:
    """Where part `number`, of exactly `size` bytes, goes by PUT."""

    number: int
    size: int
    url: str


def create(services: Services, user_id: str, what: Wanted) -> Resumable:
    """A new upload, if the user may have another one of this size."""
    store = _store(services)
    opening = Opening(what, None, None, part_size=_part_size(what.size or 0))
    made = db.retrying(services, lambda s: rows.insert(s, services, user_id, opening))
    try:
        store.create(made.id)
        store.open_to_parts(made.id)
    except BaseException as error:
        uploads.fail(services, made.upload, error)
        raise
    return made


def find(services: Services, user_id: str, upload_id: str) -> Resumable:
    """The user's upload in parts; NotFound, or Gone when it was ended or has expired."""
    found = rows.find(services, user_id, upload_id)
    if found.tus.part_size is None:
        raise NotFound("You have no upload in parts with this id. Begin a new one.")
    return found


def sign(services: Services, found: Resumable, numbers: Sequence[int]) -> list[SignedPart]:
    """URLs for these parts. The upload lives on from now."""
    if not 1 <= len(numbers) <= AT_ONCE:
        raise Invalid(f"Ask for 1 to {AT_ONCE} parts at a time.", code="part_numbers")
    sizes = [_size_of(found, number) for number in numbers]
    if not db.retrying(services, lambda s: uploads.note(s, found.id)):
        raise _over(services, found)
    ttl_s, store = services.config.ingest.part_url_s, _store(services)
    try:
        return [
            SignedPart(number, size, store.sign(found.id, number, size, ttl_s=ttl_s))
            for number, size in zip(numbers, sizes, strict=True)
        ]
    except ObjectMissing:
        raise _over(services, found) from None


def sent(services: Services, found: Resumable) -> list[Part]:
    """What has come, by number; all of it when the upload is whole."""
    try:
        return _store(services).sent(found.id)
    except ObjectMissing:
        raise _over(services, found) from None


def complete(services: Services, found: Resumable) -> Resumable:
    """The film of it. Conflict that names what is missing. Said again, it is the same film; UploadBusy while another request makes it."""
    if found.is_received:
        return found
    try:
        _accept(services, found)
        return films.complete(services, found)
    except ObjectMissing:
        return rows.received(services, found)


def part_count(found: Resumable) -> int:
    """How many parts it has."""
    return -(-_declared(found) // _part(found))


def _accept(services: Services, found: Resumable) -> None:
    """Count what came as the upload, and say so in its row: from then on it never expires."""
    store = _store(services)
    if store.size(found.id) != _declared(found):
        here = store.sent(found.id)
        _check(found, here)
        store.accept(found.id, here)
    if not db.retrying(services, lambda s: uploads.note(s, found.id, received=found.upload.declared_size)):
        rows.find(services, found.upload.user_id, found.id)  # Gone, unless another request made the film of it


def _check(found: Resumable, here: Sequence[Part]) -> None:
    have = {part.number: part.size for part in here}
    wrong = [n for n in range(1, part_count(found) + 1) if have.get(n) != _size_of(found, n)]
    if wrong or len(have) != part_count(found):
        raise Conflict(
            f"{len(wrong)} of {part_count(found)} parts are missing. Send them, then say complete again.",
            code="parts_missing",
            errors=[{"pointer": f"/parts/{n}", "detail": "has not come"} for n in wrong[:AT_ONCE]],
        )


def _size_of(found: Resumable, number: int) -> int:
    if not 1 <= number <= part_count(found):
        raise Invalid(f"The parts of this upload have the numbers 1 to {part_count(found)}.", code="part_numbers")
    return min(_part(found), _declared(found) - (number - 1) * _part(found))


def _part_size(size: int) -> int:
    return max(PART_SIZE, -(-size // PARTS_MAX))


def _declared(found: Resumable) -> int:
    assert found.upload.declared_size is not None  # it is asked for at the beginning
    return found.upload.declared_size


def _part(found: Resumable) -> int:
    assert found.tus.part_size is not None  # `find` looked
    return found.tus.part_size


def _over(services: Services, found: Resumable) -> Problem:
    """Why nothing more can be sent."""
    try:
        rows.find(services, found.upload.user_id, found.id)
    except Gone as gone:
        return gone
    return Conflict("All of it is here; nothing can be sent any more.", code="upload_whole")


def _store(services: Services) -> StoredUploads:
    if not isinstance(services.uploads, StoredUploads):
        raise NotHere("Send the file to /api/v1/tus, or in one POST to /api/v1/uploads.")
    return services.uploads
