"""What uploads leave in object storage when a process dies at the wrong moment: objects below `incoming/`, and objects in parts.

They are invisible and cost money. A chore of the scheduler's looks for them once an hour, and removes what is older than an upload may be
silent and belongs to no upload that is still being received. Nothing outside `incoming/` that is whole is ever touched.
"""

from collections.abc import Iterable
from typing import TypeVar

import structlog
from sqlalchemy import select

from storage import in_parts
from storage.base import Unfinished
from storage.stored_uploads import INCOMING
from streamer import db, ids
from streamer.ingest import leftovers
from streamer.ingest.tables import Upload, UploadState
from streamer.services import Services

Thing = TypeVar("Thing")
_EVERY_S = 3600
_TURN = "ingest:litter"

log = structlog.get_logger(__name__)


def sweep(services: Services) -> int:
    """Once an hour, whoever comes first; how many things went."""
    if services.config.ingest.uploads != "storage" or not services.kv_sync.set(_TURN, "1", nx=True, ex=_EVERY_S):
        return 0
    if count := collect(services):
        log.info("left-overs of uploads removed", count=count)
    return count


def collect(services: Services) -> int:
    """Now; how many things went."""
    return leftovers.tidy(services) + _objects(services) + _unfinished(services)


def _objects(services: Services) -> int:
    border = _border(services)
    old = [info.key for info in services.store.list(f"{INCOMING}/") if info.modified.timestamp() < border]
    lost = _lost(services, {key: key.split("/")[1] for key in old})
    for key in lost:
        services.store.delete(key)
    return len(lost)


def _unfinished(services: Services) -> int:
    """Below `sources/` too, where uploads grow at the place they will have: `sources/<asset>/<upload>`."""
    parts = in_parts(services.store)
    assert parts is not None  # `uploads = "storage"` asks for it
    border = _border(services)
    begun = [one for prefix in (INCOMING, "sources") for one in parts.unfinished(f"{prefix}/")]
    old: dict[Unfinished, str] = {one: _upload_of(one.key) for one in begun if one.begun.timestamp() < border}
    lost = _lost(services, old)
    for one in lost:
        parts.abandon(one.key, one.handle)
    return len(lost)


def _upload_of(key: str) -> str:
    return key.split("/")[1 if key.startswith(f"{INCOMING}/") else -1]


def _lost(services: Services, of: dict[Thing, str]) -> list[Thing]:
    """Those whose upload is not being received."""
    receiving = _receiving(services, set(of.values()))
    return [thing for thing, upload_id in of.items() if upload_id not in receiving]


def _receiving(services: Services, upload_ids: Iterable[str]) -> set[str]:
    known = [upload_id for upload_id in upload_ids if ids.is_id(upload_id)]
    query = select(Upload.id).where(Upload.state == UploadState.RECEIVING, Upload.id.in_(known))
    with db.reading(services) as s:
        return set(s.scalars(query))


def _border(services: Services) -> float:
    return db.now().timestamp() - services.config.ingest.expire_s
