"""How much a user may have unfinished at a time, in uploads and in bytes. All inside the caller's transaction."""

from sqlalchemy import case, exists, func, select
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
    mine = Upload.user_id == user_id, Upload.state == UploadState.RECEIVING
    counted = func.coalesce(func.sum(func.coalesce(Upload.declared_size, _unknown(settings))), 0)
    count, total = s.execute(select(func.count(), counted).where(*mine)).one()
    if count >= settings.max_unfinished:
        raise TooMany(f"{count} of your uploads are unfinished. Finish or end one of them, or wait until they expire.")
    if total + size > settings.max_unfinished_bytes:
        raise TooMany(
            f"Your unfinished uploads may come to {settings.max_unfinished_bytes:,} bytes and would be more with this"
            " one. Finish or end one of them, or wait until they expire.",
            code="upload_quota",
        )


def _unknown(settings: Ingest) -> object:
    """An upload of unknown length counts as the largest there can be; an import as what came of it, since few run at a time."""
    fetched = exists().where(Import.id == Upload.id)
    return case((fetched, Upload.received), else_=settings.max_upload_bytes)
