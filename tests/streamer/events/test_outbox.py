"""What is old goes, from the oldest on, and what is young stays."""

from datetime import timedelta

from sqlalchemy import update

from streamer import db
from streamer.events import outbox, relay
from streamer.events.tables import Event
from streamer.services import Services
from tests.streamer.events.following import read, record


def age(services: Services, *names: str) -> None:
    with db.session(services) as s:
        old = db.now() - timedelta(seconds=services.config.events.keep_s + 60)
        s.execute(update(Event).where(Event.subject_id.in_(names)).values(created_at=old))


def test_old_events_are_purged_without_a_gap_and_numbers_go_on(services: Services) -> None:
    record(services, "a", "b", "c", "d")
    relay.number_waiting(services)
    record(services, "waiting")
    assert outbox.purge(services) == 0
    age(services, "a", "b", "d", "waiting")
    assert outbox.purge(services) == 2
    assert read(services) == [(3, "c"), (4, "d")]
    relay.number_waiting(services)
    age(services, "c")
    assert outbox.purge(services) == 3
    with db.reading(services) as s:
        assert (outbox.first_kept(s), outbox.head(s)) == (6, 5)
    record(services, "e")
    relay.number_waiting(services)
    assert read(services) == [(6, "e")]
