"""Files on this machine's own disks, made films without HTTP: into storage in one pass, hashed on the way.

A file whose bytes this user has as a film already is left alone, so the same call again goes on where an interrupted one stopped. Only if
the user has a film of exactly that size is the file read once more, and first, to know.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import db
from streamer.catalog.tables import Asset, Policy, Version
from streamer.errors import Conflict, Invalid
from streamer.ingest import duplicates, held, sources, uploads, wanted
from streamer.ingest.tables import OnDuplicate, Upload
from streamer.jobs import queues
from streamer.services import Services

Look = Callable[[int, int], None]
"""Told how many bytes of how many are done; what it raises ends the work and leaves nothing."""

_PIECE = 1 << 20
_INTERRUPTED = {
    "code": "interrupted",
    "title": "The import was interrupted",
    "detail": "Start it again and it goes on.",
}


@dataclass(frozen=True, slots=True)
class Brought:
    """The film that the file is, whether it was one already, and whether it could not be made then."""

    asset_id: str
    title: str
    is_new: bool
    is_errored: bool = False


def bring_in(
    services: Services,
    user_id: str,
    path: Path,
    policy: Policy,
    title: str | None = None,
    *,
    check: Callable[[Path], object] = lambda path: None,
    look: Look = lambda done, size: None,
) -> Brought:
    """Make the file a film of this user. `check` may refuse it by raising, before anything is stored.

    Problem, StorageError and OSError say why it can't be; the file itself is only read.
    """
    before = regular(path)
    what = wanted.of(path.name, title, policy, before.st_size, services.config.ingest, OnDuplicate.OFFER)
    if (known := _known(services, user_id, path, before.st_size, look)) is not None:
        return known
    check(path)
    wanted.check_room(services, before.st_size, grows_here=False)
    upload = db.retrying(services, lambda s: uploads.add(s, user_id, what))
    try:
        source = sources.put(
            services.store, upload.source_key, what.filename, [path], lambda done: look(done, before.st_size)
        )
        _check_same(path, before)
        done = db.retrying(services, lambda s: uploads.enter(s, services, upload, what, source))
    except BaseException as error:
        _leave(services, upload, error)
        raise
    queues.dispatch(services, done.jobs)
    if done.asset is None:  # somebody else brought the same bytes in meanwhile
        film = _dropped(services, done.upload)
        return Brought(film.id, film.title, is_new=False)
    return Brought(done.asset.id, done.asset.title, is_new=True)


def regular(path: Path) -> os.stat_result:
    """Facts of a file; Invalid for a pipe or a device, which might never end."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise Invalid("It is not a file. Give the film itself, not a folder or a pipe.", code="not_a_file")
    return found


def _known(services: Services, user_id: str, path: Path, size: int, look: Look) -> Brought | None:
    """Also what could not be made: the same file would be another failed film each time."""
    with db.reading(services) as s:
        if not _has_one_of_size(s, user_id, size):
            return None
    sha256, done = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            sha256.update(piece)
            done += len(piece)
            look(done, size)
    with db.reading(services) as s:
        whole = duplicates.equal(s, sha256.hexdigest(), user_id)
        film = whole or duplicates.equal(s, sha256.hexdigest(), user_id, errored=True)
        return Brought(film.id, film.title, is_new=False, is_errored=whole is None) if film else None


def _has_one_of_size(s: Session, user_id: str, size: int) -> bool:
    query = select(Version.id).join(Asset, Asset.id == Version.asset_id)
    same = query.where(Asset.owner_id == user_id, Asset.deleted_at.is_(None), Version.source_size == size)
    return s.scalar(same.limit(1)) is not None


def _check_same(path: Path, before: os.stat_result) -> None:
    after = path.stat()
    if (after.st_size, after.st_mtime_ns, after.st_ino) != (before.st_size, before.st_mtime_ns, before.st_ino):
        raise Conflict("The file changed while it was read. Try again when it is finished.", code="file_changed")


def _leave(services: Services, upload: Upload, error: BaseException) -> None:
    if isinstance(error, Exception):
        uploads.fail(services, upload, error)
    else:  # Ctrl-C
        uploads.abandon(services, upload, _INTERRUPTED)


def _dropped(services: Services, upload: Upload) -> Asset:
    held.discard(services, upload.user_id, upload.id)
    with db.reading(services) as s:
        return s.get_one(Asset, upload.duplicate_of)
