"""Rows of resumable uploads: an `Upload` like any other and what tus remembers beside it, looked up and made for one user."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from streamer import db
from streamer.errors import Gone, NotFound
from streamer.ingest import shares, uploads
from streamer.ingest.tables import TusUpload, Upload, UploadState
from streamer.ingest.tus.protocol import Concat
from streamer.ingest.wanted import Wanted
from streamer.services import Services


@dataclass(frozen=True, slots=True)
class Opening:
    """What a client said of a new upload; `described` is its Upload-Metadata as it came."""

    what: Wanted
    described: str | None
    concat: Concat | None
    part_size: int | None = None


@dataclass(frozen=True, slots=True)
class Resumable:
    """An upload as its rows were when it was looked up."""

    upload: Upload
    tus: TusUpload

    @property
    def id(self) -> str:
        return self.upload.id

    @property
    def is_received(self) -> bool:
        return self.upload.state in (UploadState.RECEIVED, UploadState.HELD)

    @property
    def concat(self) -> Concat | None:
        if self.tus.parts is not None:
            return Concat(tuple(self.tus.parts.split()))
        return Concat() if self.tus.partial else None

    def expires(self, services: Services) -> datetime | None:
        """When it goes unless more of it comes."""
        if self.is_received:
            return None
        return self.upload.updated_at + timedelta(seconds=services.config.ingest.expire_s)


def find(services: Services, user_id: str, upload_id: str) -> Resumable:
    """The user's upload, or NotFound; Gone when it was ended or has expired."""
    with db.reading(services) as s:
        found = owned(s, user_id, upload_id)
    if found.upload.state == UploadState.FAILED:
        raise Gone((found.upload.error or {}).get("detail", "") or "Begin a new upload.", code="upload_gone")
    return found


def by_tus(services: Services, user_id: str, upload_id: str) -> Resumable:
    """The same, if its bytes come by tus; else NotFound."""
    found = find(services, user_id, upload_id)
    if found.tus.part_size is not None:
        raise NotFound("This upload comes in parts, not by tus.")
    return found


def received(services: Services, found: Resumable) -> Resumable:
    """An upload whose file has just gone, as the film that somebody made of it; else Gone or, without a reason, NotFound."""
    now = find(services, found.upload.user_id, found.id)
    if not now.is_received:
        raise lost()
    return now


def insert(s: Session, services: Services, user_id: str, opening: Opening) -> Resumable:
    """The rows of a new upload. `shares.TooMany` when the user has no room for it."""
    settings, size = services.config.ingest, opening.what.size
    if opening.concat is None or opening.concat.is_partial:
        shares.check(s, settings, user_id, settings.max_upload_bytes if size is None else size)
    upload = uploads.add(s, user_id, opening.what)
    concat = opening.concat
    tus = TusUpload(
        id=upload.id,
        title=opening.what.title,
        policy=opening.what.policy,
        described=opening.described,
        partial=concat is not None and concat.is_partial,
        parts=" ".join(concat.parts) if concat is not None and concat.parts else None,
        part_size=opening.part_size,
    )
    s.add(tus)
    s.flush()
    return Resumable(upload, tus)


def owned(s: Session, user_id: str, upload_id: str) -> Resumable:
    """The user's upload in any state, or NotFound."""
    upload = uploads.owned(s, upload_id, user_id)
    tus = s.get(TusUpload, upload.id) if upload else None
    if upload is None or tus is None:
        raise NotFound("You have no resumable upload with this id. Begin a new one.")
    return Resumable(upload, tus)


def whole_of(s: Session, user_id: str, parts: Sequence[str]) -> Resumable | None:
    """The upload that was made of these parts."""
    mine = Upload.user_id == user_id, Upload.state != UploadState.FAILED
    row = s.execute(both().where(*mine, TusUpload.parts == " ".join(parts)).limit(1)).first()
    return Resumable(*row) if row else None


def both() -> Select[Upload, TusUpload]:
    """Both rows of every resumable upload."""
    return select(Upload, TusUpload).join(TusUpload, TusUpload.id == Upload.id)


def lost() -> NotFound:
    """The refusal when the row is there and the bytes are not."""
    return NotFound("The bytes of this upload are not here. Begin a new one.", code="upload_lost")
