"""What is on: films that are published, play, and have a public link. One query for films, one for links."""

from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from streamer.catalog import playback_ids
from streamer.catalog.tables import Asset, PlaybackId, Policy, Publication, Version
from streamer.services import Services

SHOWN = 60


@dataclass(frozen=True, slots=True)
class Listed:
    """One film of the front page; `duration_s` in seconds."""

    playback_id: str
    title: str
    poster_url: str | None
    duration_s: float | None


def newest(services: Services, s: Session) -> list[Listed]:
    """The newest of them, at most SHOWN."""
    public = exists().where(
        PlaybackId.asset_id == Asset.id, PlaybackId.policy == Policy.PUBLIC, PlaybackId.revoked_at.is_(None)
    )
    query = (
        select(Asset, Version)
        .join(Version, Version.id == Asset.live_version_id)
        .where(Asset.deleted_at.is_(None), Asset.publication == Publication.PUBLISHED, Version.playable, public)
        .order_by(Asset.id.desc())
        .limit(SHOWN)
    )
    rows = s.execute(query).all()
    links = playback_ids.of(s, [asset.id for asset, _ in rows])
    return [
        Listed(
            playback_id=next(link.id for link in links[asset.id] if link.policy == Policy.PUBLIC),
            title=asset.title,
            poster_url=services.poster_url(version.path) if version.poster and version.path else None,
            duration_s=version.duration_s,
        )
        for asset, version in rows
    ]
