"""How much a user may have unfinished at a time, in uploads and in bytes. All inside the caller's transaction."""

from sqlalchemy import ColumnElement, case, exists, func, select
from sqlalchemy.orm import Session

from streamer.accounts.tables import User
from streamer.config import Ingest
from streamer.errors import Problem
from streamer.ingest.tables import Import, Upload, UploadState


class TooMany(Problem):
    """The user has more unfinished uploads than they may."""

    status, default_code, title = 429, "too_many_unfinished", "Too many unfinished uploads"


def check(s: Session, settings: Ingest, user_id: str, size: int) -> None:
    """TooMany when the user has no room for another upload of `size` bytes. Others of the same user wait until the transaction ends."""
    s.get_one(User, user_id, with_for_update=True)  # one at a time per user, so that the sums are right
    count = s.scalar(select(func.count()).where(*_unfinished(user_id))) or 0
    if count >= settings.max_unfinished:
        raise TooMany(f"{count} of your uploads are unfinished. Finish or end one of them, or wait until they expire.")
    check_bytes(s, settings, user_id, size)


def check_bytes(s: Session, settings: Ingest, user_id: str, size: int = 0) -> None:
    """TooMany when what the user has unfinished would come to too much with `size` more bytes."""
    counted = func.coalesce(func.sum(func.coalesce(Upload.declared_size, _unknown(settings))), 0)
    if (s.scalar(select(counted).where(*_unfinished(user_id))) or 0) + size > settings.max_unfinished_bytes:
        raise TooMany(
            f"Your unfinished uploads may come to {settings.max_unfinished_bytes:,} bytes and would be more with this"
            " one. Finish or end one of them, or wait until they expire.",
            code="upload_quota",
        )


def _unfinished(user_id: str) -> tuple[ColumnElement[bool], ...]:
    return Upload.user_id == user_id, Upload.state == UploadState.RECEIVING


def _unknown(settings: Ingest) -> ColumnElement[int]:
    """An upload of unknown length counts as the largest there can be; an import as what came of it, since few run at a time."""
    fetched = exists().where(Import.id == Upload.id)
    return case((fetched, Upload.received), else_=settings.max_upload_bytes)
