"""Playback ids: the public names an asset is played by. All inside the caller's transaction."""

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import ids
from streamer.accounts import audit
from streamer.catalog import news
from streamer.catalog.tables import PlaybackId, Policy
from streamer.db import now
from streamer.errors import Conflict
from streamer.events.types import EventType

PER_ASSET = 100


def create(s: Session, asset_id: str, policy: Policy) -> PlaybackId:
    """One more way to play the asset."""
    if len(of(s, [asset_id])[asset_id]) >= PER_ASSET:
        raise Conflict(f"A film can have {PER_ASSET} playback ids; revoke one first.", code="too_many_playback_ids")
    playback = PlaybackId(id=ids.new("plb"), asset_id=asset_id, policy=policy, created_at=now())
    s.add(playback)
    s.flush()
    news.playback_id(s, EventType.PLAYBACK_ID_CREATED, playback)
    audit.record(s, "playback_id.create", playback.id, after={"asset_id": asset_id, "policy": playback.policy})
    return playback


def of(s: Session, asset_ids: Iterable[str]) -> dict[str, list[PlaybackId]]:
    """The ids in force, by asset, oldest first."""
    found: dict[str, list[PlaybackId]] = defaultdict(list)
    in_force = PlaybackId.asset_id.in_(list(asset_ids)), PlaybackId.revoked_at.is_(None)
    for playback in s.scalars(select(PlaybackId).where(*in_force).order_by(PlaybackId.id)):
        found[playback.asset_id].append(playback)
    return found


def revoke(s: Session, asset_id: str, playback_id: str) -> bool:
    """Open nothing by this name any more; False when the asset has no such name in force."""
    playback = s.get(PlaybackId, playback_id) if ids.is_id(playback_id) else None
    if playback is None or playback.asset_id != asset_id or playback.revoked_at is not None:
        return False
    playback.revoked_at = now()
    news.playback_id(s, EventType.PLAYBACK_ID_REVOKED, playback)
    audit.record(s, "playback_id.revoke", playback.id, before={"asset_id": asset_id, "policy": playback.policy})
    return True
