"""Which providers' accounts open somebody's account here, and taking one away. All inside the caller's transaction."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import ids
from streamer.accounts import audit
from streamer.errors import NotFound
from streamer.membership.tables import ProviderLink


def of(s: Session, user_id: str) -> Sequence[ProviderLink]:
    """Theirs, the oldest first."""
    return s.scalars(select(ProviderLink).where(ProviderLink.user_id == user_id).order_by(ProviderLink.id)).all()


def remove(s: Session, user_id: str, link_id: str) -> None:
    """The next sign-in by that provider is a first one again; NotFound when it is none of theirs. A password can always be had by letter."""
    link = s.get(ProviderLink, link_id) if ids.is_id(link_id) else None
    if link is None or link.user_id != user_id:
        raise NotFound("Your account is not linked to that.")
    s.delete(link)
    audit.record(s, "identity.unlink", user_id, before={"provider": link.provider})
