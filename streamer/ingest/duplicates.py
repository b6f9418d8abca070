"""Films whose source has the same bytes as a new upload: by SHA-256, among those that the sender may see."""

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.accounts.tables import User
from streamer.catalog.tables import Asset, Processing, Version
from streamer.errors import unfit
from streamer.ingest.tables import OnDuplicate, Upload


def choice(text: str, who: Principal) -> OnDuplicate:
    """What the client wants done with a duplicate, and among whose films this client may be told of one."""
    if text == OnDuplicate.KEEP:
        return OnDuplicate.KEEP
    if text != OnDuplicate.OFFER:
        raise unfit("on_duplicate", "must be keep or offer", text)
    return OnDuplicate.OFFER_ANY if who.can(Permission.ASSETS_LIST) else OnDuplicate.OFFER


def of(s: Session, upload: Upload, sha256: str) -> Asset | None:
    """The film that the finished upload would be a second time, if its sender wants to be asked."""
    if upload.on_duplicate == OnDuplicate.KEEP:
        return None
    s.get_one(
        User, upload.user_id, with_for_update=True
    )  # of two equal ones that end at once, one sees the other's film
    return equal(s, sha256, None if upload.on_duplicate == OnDuplicate.OFFER_ANY else upload.user_id)


def equal(s: Session, sha256: str, owner_id: str | None, *, errored: bool = False) -> Asset | None:
    """A film made from these bytes, one that plays before others; `owner_id` None looks among everyone's.

    Bytes that could not be made a film are nobody's film, unless `errored` asks for them.
    """
    query = _made().where(Version.source_sha256 == sha256)
    if not errored:
        query = query.where(Version.processing != Processing.ERRORED)
    if owner_id is not None:
        query = query.where(Asset.owner_id == owner_id)
    return s.scalars(query.order_by(Version.playable.desc(), Asset.id).limit(1)).first()


def still(s: Session, uploads: Sequence[Upload]) -> set[str]:
    """Ids of those among these held uploads whose `duplicate_of` is a film of the same bytes as before."""
    query = _made().join(Upload, (Upload.duplicate_of == Asset.id) & (Upload.sha256 == Version.source_sha256))
    there = Upload.id.in_([upload.id for upload in uploads]), Version.processing != Processing.ERRORED
    return set(s.scalars(query.where(*there).with_only_columns(Upload.id)))


def _made() -> Select[Asset]:
    """Films by their versions, without what is deleted."""
    query = select(Asset).join(Version, Version.asset_id == Asset.id)
    return query.where(Version.deleted_at.is_(None), Asset.deleted_at.is_(None))
