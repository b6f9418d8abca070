"""What the catalog tells the world: one event per change, in the transaction of the change, with the subject as it is then."""

from sqlalchemy.orm import Session

from streamer.catalog import faces
from streamer.catalog.tables import Asset, PlaybackId, Version
from streamer.events import outbox
from streamer.events.types import EventType


def asset(s: Session, kind: EventType, row: Asset, version: Version | None = None) -> None:
    """Something happened to a film; `version` is the encode it happened to."""
    made = {**faces.encode(version), **faces.film(version)} if version else {}
    outbox.record(s, kind, row.id, {**faces.asset(row), **made})


def version(s: Session, kind: EventType, row: Version) -> None:
    """Something happened to one of a film's versions."""
    outbox.record(s, kind, row.id, faces.version(row))


def playback_id(s: Session, kind: EventType, row: PlaybackId) -> None:
    """A public name of a film came or went."""
    outbox.record(s, kind, row.id, {**faces.playback_id(row), "asset_id": row.asset_id})
