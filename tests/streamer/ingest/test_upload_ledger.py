"""Turns at uploads, in SQL on both databases and in memory: one at a time, and what comes from an old one counts for nothing."""

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from storage import ObjectExists, ObjectMissing, UploadBusy
from storage.ledger import MemoryLedger, Piece, Turn, UploadLedger, Wish
from streamer import db
from streamer.config import Database
from streamer.upload_ledger import LEASE_S, SILENT_S, SqlLedger, StoredUpload
from tests.streamer.stack import empty_tables

ID = "upl_" + "1" * 20
PIECES = [Piece(0, 5, 1, "e1"), Piece(5, 2, key="incoming/x/5")]


@pytest.fixture(params=["memory", "sqlite", "mariadb"])
def ledgers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[UploadLedger, UploadLedger]]:
    """As two processes see it, with an upload open."""
    if request.param == "memory":
        ledger = MemoryLedger()
        ledger.open(ID, "sources/a/b")
        yield ledger, ledger
        return
    url = empty_tables(request, request.param, tmp_path_factory.mktemp("ledger"))
    engines = [db.create(Database(), url) for _ in range(2)]
    here, there = (SqlLedger(engine) for engine in engines)
    here.open(ID, "sources/a/b")
    yield here, there
    for ledger in (here, there):
        ledger.close()
        ledger.engine.dispose()


Both = tuple[UploadLedger, UploadLedger]


def test_each_turn_has_a_greater_number_and_what_was_recorded(ledgers: Both) -> None:
    here, there = ledgers
    turn = here.begun(here.take(ID, Wish.APPEND), "handle")
    here.record(turn, new=[PIECES[1], PIECES[0]])
    numbers = [here.claim(turn), here.claim(turn)]
    here.give_back(turn)
    later = there.take(ID, Wish.HOLD)
    assert (later.fence > turn.fence, later.key, later.handle) == (True, "sources/a/b", "handle")
    assert there.look(ID) == later
    assert there.pieces(ID) == PIECES
    assert there.claim(later) > max(numbers)
    there.record(later, gone=[PIECES[1]], new=[Piece(5, 9, 4, "e4")])
    assert here.pieces(ID) == [PIECES[0], Piece(5, 9, 4, "e4")]
    with pytest.raises(ObjectExists):
        there.open(ID, "sources/a/b")
    assert list(here.ids()) == [ID]


def test_a_turn_that_another_followed_changes_nothing(ledgers: Both) -> None:
    here, there = ledgers
    old = here.take(ID, Wish.APPEND)
    here.give_back(old)
    new = there.take(ID, Wish.APPEND)
    for change in (lambda: here.claim(old), lambda: here.begun(old, "x"), lambda: here.record(old, new=PIECES)):
        with pytest.raises(UploadBusy):
            change()
    here.give_back(old)
    assert (there.pieces(ID), there.look(ID)) == ([], new)
    there.record(new, new=PIECES)


def test_who_waits_is_heard_and_gets_the_turn_within_a_second(ledgers: Both) -> None:
    here, there = ledgers
    heard: list[tuple[bool, bool]] = []

    def writes() -> None:
        turn = here.take(ID, Wish.APPEND)
        ready.set()
        while not here.asked(ID, silent=True):
            time.sleep(0.01)
        heard.append((here.asked(ID, silent=False), here.asked(ID, silent=True)))
        here.give_back(turn)

    for wish in (Wish.HOLD, Wish.APPEND):
        waited_s = []
        for _ in range(3):  # the machine may be busy with other tests, but hardly three times
            ready = threading.Event()
            writer = threading.Thread(target=writes)
            writer.start()
            ready.wait()
            since = time.monotonic()
            turn = there.take(ID, wish)
            waited_s.append(time.monotonic() - since)
            writer.join()
            assert not there.asked(ID, silent=True)
            there.give_back(turn)
        assert min(waited_s) < 1
    assert heard == [(True, True)] * 3 + [(False, True)] * 3


def test_what_ended_has_no_turns_and_the_last_one_counts_no_more(ledgers: Both) -> None:
    here, there = ledgers
    turn = here.begun(here.take(ID, Wish.APPEND), "handle")
    ended = there.end(ID)
    assert ended is not None and (ended.key, ended.handle) == ("sources/a/b", "handle")
    with pytest.raises(UploadBusy):
        here.record(turn, new=PIECES)
    for use in (lambda: there.take(ID, Wish.HOLD), lambda: there.look(ID), lambda: there.pieces(ID)):
        with pytest.raises(ObjectMissing):
            use()
    until = time.monotonic() + 2
    while not here.asked(ID, silent=False):
        assert time.monotonic() < until, "the writer never learns"
        time.sleep(0.02)
    assert list(there.ids()) == [ID], "until it is forgotten"
    there.forget(ID)
    assert (list(there.ids()), there.end(ID)) == ([], None)


@pytest.mark.parametrize("ledgers", ["mariadb"], indirect=True)
def test_a_dead_process_loses_its_turn_and_a_living_one_keeps_it(ledgers: tuple[SqlLedger, SqlLedger]) -> None:
    here, there = ledgers
    turn = here.take(ID, Wish.APPEND)
    _age(here, LEASE_S - 2)
    time.sleep(2.2)  # it is renewed in that time
    with pytest.raises(UploadBusy):
        there.take(ID, Wish.HOLD)
    _kill(here, turn)
    _age(here, LEASE_S)
    assert there.take(ID, Wish.APPEND).fence > turn.fence


@pytest.mark.parametrize("ledgers", ["sqlite", "mariadb"], indirect=True)
def test_who_comes_back_to_an_upload_does_not_wait_for_the_lease_of_a_dead_process(
    ledgers: tuple[SqlLedger, SqlLedger],
) -> None:
    here, there = ledgers
    old = here.take(ID, Wish.APPEND)
    _kill(here, old)

    def tries(wish: Wish) -> Turn | None:
        return db.retrying(there, lambda s: there._next(s, ID, wish))

    _age(here, SILENT_S - 0.5)
    assert tries(Wish.HOLD) is None, "a living one renews it in that time"
    time.sleep(0.6)
    assert tries(Wish.APPEND) is None, "a rival is no sign that anybody died"
    new = tries(Wish.HOLD)
    with pytest.raises(UploadBusy):
        here.record(old, new=PIECES)  # it was only asleep, and what it brings counts for nothing
    assert (there.pieces(ID), there.look(ID)) == ([], new)


def _kill(ledger: SqlLedger, turn: Turn) -> None:
    ledger._keeper.remove(turn)
    time.sleep(0.3)  # for the look that may be under way


def _age(ledger: SqlLedger, seconds: float) -> None:
    with db.session(ledger) as s:
        s.execute(update(StoredUpload).values(until=db.database_now(LEASE_S - seconds)))
