"""The names of what can happen: `noun.participle`. Programs of others compare them, so a name never changes its meaning."""

from enum import StrEnum


class EventType(StrEnum):
    """`data` of an event is its subject as the API shows it, at the moment of the change."""

    ASSET_CREATED = "asset.created"  # a film is there, its encode waits
    ASSET_UPDATED = "asset.updated"  # title or publication changed
    ASSET_PLAYABLE = "asset.playable"  # its beginning can be watched while the rest is made
    ASSET_READY = "asset.ready"  # a version is whole
    ASSET_ERRORED = "asset.errored"  # an encode failed for good; `error` says why
    ASSET_CANCELLED = "asset.cancelled"  # somebody stopped an encode
    ASSET_DELETED = "asset.deleted"
    VERSION_CREATED = "version.created"  # another file, or another ladder, for a film that there is
    VERSION_PUBLISHED = "version.published"  # the film plays this version now, and played another one before
    VERSION_DELETED = "version.deleted"  # its files follow when nobody can be watching it any more
    PLAYBACK_ID_CREATED = "playback_id.created"
    PLAYBACK_ID_REVOKED = "playback_id.revoked"
    UPLOAD_HELD = "upload.held"  # its bytes are a film's already, and its sender wanted to be asked
    WEBHOOK_PING = "webhook.ping"  # somebody tries an endpoint out; sent to that one only
    UPLOAD_FAILED = "upload.failed"  # nothing of it is left
