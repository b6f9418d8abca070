"""Numbers come after the commit: no reader misses an event, whatever order transactions end in and whoever is killed."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import db, migrations
from streamer.config import Config
from streamer.events import outbox, relay
from streamer.events.tables import Event
from streamer.events.types import EventType
from streamer.services import Services, close_services, open_services
from tests.servers import ROOT
from tests.streamer.events.following import read, record
from tests.streamer.stack import make_config


def test_events_are_numbered_in_the_order_in_which_they_were_written(services: Services) -> None:
    record(services, "a", "b", "c")
    record(services, "d")
    assert read(services) == []
    assert relay.number_waiting(services) == 4
    assert read(services) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert read(services, after=2) == [(3, "c"), (4, "d")]
    assert relay.number_waiting(services) == 0


def test_what_is_rolled_back_never_happened(services: Services) -> None:
    with pytest.raises(ZeroDivisionError), db.session(services) as s:
        outbox.record(s, EventType.ASSET_READY, "never", {})
        s.flush()
        raise ZeroDivisionError
    record(services, "a")
    relay.number_waiting(services)
    assert read(services) == [(1, "a")]


def test_a_transaction_that_began_first_and_ends_last_is_not_missed(tmp_path_factory: pytest.TempPathFactory, mariadb_url: str, redis_url: str) -> None:  # fmt: skip
    """On MariaDB: SQLite has one writer at a time."""
    opened = open_services(make_config(tmp_path_factory.mktemp("data"), database=mariadb_url, redis=redis_url))
    migrations.upgrade(opened.engine)
    with db.session(opened) as slow:
        outbox.record(slow, EventType.ASSET_READY, "slow", {})
        slow.flush()
        record(opened, "quick")
        relay.number_waiting(opened)
        assert read(opened) == [(1, "quick")]
    relay.number_waiting(opened)
    assert read(opened, after=1) == [(2, "slow")]
    with db.reading(opened) as s:
        assert s.scalars(select(Event.entry).where(Event.subject_id == "slow")).one() == 1
    close_services(opened)


def test_a_reader_among_many_writers_and_two_relays_gets_each_event_once(services: Services) -> None:
    seen: list[tuple[int | None, str]] = []
    done = threading.Event()

    def until_done(work: Callable[[], object]) -> None:
        while not done.is_set():
            work()

    def number() -> None:
        relay.number_waiting(services)

    def follow() -> None:
        seen.extend(read(services, after=seen[-1][0] or 0 if seen else 0))

    writers = [threading.Thread(target=write, args=(services, at)) for at in range(4)]
    others = [threading.Thread(target=until_done, args=(one,)) for one in (number, number, follow)]
    for thread in [*writers, *others]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    number()
    follow()
    with db.reading(services) as s:
        written = set(s.scalars(select(Event.subject_id)))
    assert [at for at, _ in seen] == list(range(1, len(seen) + 1))
    assert {name for _, name in seen} == written and len(written) > 10


def write(services: Services, writer: int) -> None:
    chance = random.Random(writer)
    for turn in range(8):
        with suppress(ZeroDivisionError):
            db.retrying(services, lambda s, turn=turn: wavering(s, f"{writer}-{turn}", chance))  # type: ignore[misc]


def wavering(s: Session, name: str, chance: random.Random) -> None:
    """A transaction that takes a while, and fails now and then."""
    outbox.record(s, EventType.ASSET_UPDATED, name, {})
    s.flush()
    threading.Event().wait(chance.uniform(0, 0.01))
    if chance.random() < 0.2:
        raise ZeroDivisionError


def test_a_process_killed_after_its_commit_loses_nothing(services: Services, config: Config) -> None:
    code = "import sys; from tests.streamer.events.test_relay import commit_and_die; commit_and_die(sys.argv[1], sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(config.data.dir), config.database_url], cwd=ROOT, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    relay.number_waiting(services)
    assert read(services) == [(1, "last words")]


def commit_and_die(data: str, database: str) -> None:
    from pathlib import Path

    record(open_services(make_config(Path(data), database=database, redis="")), "last words")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_relay_that_breaks_off_leaves_no_number_behind(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    record(services, "a", "b")
    monkeypatch.setattr(relay, "_load", lambda path: break_off)
    with pytest.raises(ZeroDivisionError):
        relay.number_waiting(services)
    assert read(services) == []
    monkeypatch.undo()
    relay.number_waiting(services)
    assert read(services) == [(1, "a"), (2, "b")]


def break_off(s: Session, events: Sequence[Event]) -> None:
    raise ZeroDivisionError
