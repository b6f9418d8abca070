"""Recording, and reading as a customer does."""

from streamer import db
from streamer.events import outbox
from streamer.events.types import EventType
from streamer.services import Services


def record(services: Services, *names: str) -> None:
    """Events that are told apart by their subjects, in one transaction."""
    with db.session(services) as s:
        for name in names:
            outbox.record(s, EventType.ASSET_UPDATED, name, {"title": f"{name} ü 🦊"})


def read(services: Services, after: int = 0) -> list[tuple[int | None, str]]:
    """(number, subject) of all that a reader with `after=` is shown."""
    with db.reading(services) as s:
        return [(one.sequence, one.subject_id) for one in outbox.between(s, after, outbox.head(s), 1000)]
