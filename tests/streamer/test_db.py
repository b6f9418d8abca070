import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, StatementError
from sqlalchemy.orm import Session

from streamer import db, ids, mariadb, migrations
from streamer.accounts.tables import ApiKey, User
from streamer.config import Database
from streamer.services import Services
from tests.streamer.stack import config, database_url, migrated_mariadb, migrated_sqlite, services

__all__ = ["config", "database_url", "migrated_mariadb", "migrated_sqlite", "services"]


def user(name: str = "Ada", **values: object) -> User:
    row = {"id": ids.new("usr"), "email": f"{ids.new('x')}@x", "name": name, "password_hash": "", "role": "viewer"}
    return User(**{**row, "created_at": db.now(), **values})


def count(services: Services) -> int:
    with db.reading(services) as s:
        return s.scalar(select(func.count()).select_from(User)) or 0


def test_a_new_database_is_for_its_owner_only_whatever_folder_it_is_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    engine = db.create(Database(), f"sqlite:///{tmp_path}/new.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    engine.dispose()
    assert set(modes.values()) == {0o600} and len(modes) == 3, modes


def test_a_transaction_is_kept_when_its_block_ends(services: Services) -> None:
    with db.session(services) as s:
        s.add(user())
    assert count(services) == 1


def test_a_transaction_is_undone_when_its_block_raises(services: Services) -> None:
    with pytest.raises(RuntimeError), db.session(services) as s:
        s.add(user())
        s.flush()
        raise RuntimeError
    assert count(services) == 0


def test_times_keep_their_microseconds_and_their_zone(services: Services) -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
    row = user(created_at=moment.astimezone(timezone(timedelta(hours=5))))
    with db.session(services) as s:
        s.add(row)
    with db.reading(services) as s:
        assert s.scalars(select(User.created_at)).one() == moment
        assert s.scalars(select(User.created_at)).one().tzinfo is UTC


def test_a_time_without_a_zone_is_refused(services: Services) -> None:
    with pytest.raises(StatementError, match="time zone"), db.session(services) as s:
        s.add(user(created_at=datetime(2026, 1, 1)))


def test_the_clock_of_the_database_compares_with_stored_times(services: Services) -> None:
    with db.session(services) as s:
        s.add(user(name="past", created_at=db.now() - timedelta(seconds=5)))
        s.add(user(name="future", created_at=db.now() + timedelta(seconds=5)))
    with db.reading(services) as s:
        assert s.scalars(select(User.name).where(User.created_at < db.database_now())).all() == ["past"]
        assert s.scalars(select(User.name).where(User.created_at < db.database_now(-6))).all() == []
        assert len(s.scalars(select(User.name).where(User.created_at < db.database_now(6.5))).all()) == 2


def test_the_clock_of_the_database_can_be_stored(services: Services) -> None:
    with db.session(services) as s:
        s.add(user())
    with db.session(services) as s:
        s.execute(update(User).values(created_at=db.database_now(plus_s=30)))
    with db.reading(services) as s:
        away = s.scalars(select(User.created_at)).one() - db.now()
    assert timedelta(seconds=28) < away < timedelta(seconds=31)


def test_foreign_keys_are_enforced(services: Services) -> None:
    orphan = ApiKey(id="key_1", user_id="usr_none", name="", secret_sha256="", scopes=[], created_at=db.now())
    with pytest.raises(IntegrityError), db.session(services) as s:
        s.add(orphan)


def test_ids_and_addresses_are_compared_byte_for_byte(services: Services) -> None:
    with db.session(services) as s:
        s.add(user(email="jose@x"))
        s.add(user(email="josé@x"))
    with db.reading(services) as s:
        assert s.scalars(select(User.email).where(User.email == "JOSE@x")).all() == []


def test_text_of_any_script_comes_back(services: Services) -> None:
    with db.session(services) as s:
        s.add(user(name="Зоя 🎬 日本"))
    with db.reading(services) as s:
        assert s.scalars(select(User.name)).one() == "Зоя 🎬 日本"


def test_json_null_is_sql_null(services: Services) -> None:
    with db.session(services) as s:
        s.execute(text("SELECT 1"))
        row = user()
        s.add(row)
        s.flush()
        key = ApiKey(id="key_1", user_id=row.id, name="", secret_sha256="", scopes=["a"], created_at=db.now())
        s.add(key)
    with db.reading(services) as s:
        assert s.scalars(select(ApiKey.scopes)).one() == ["a"]


def test_concurrent_increments_are_all_kept(services: Services) -> None:
    """Read, think, write, from eight threads: each waits for the lock or runs again."""
    row = user(name="0")
    with db.session(services) as s:
        s.add(row)

    def add_one(s: Session) -> None:
        found = s.scalars(select(User).where(User.id == row.id).with_for_update()).one()
        found.name = str(int(found.name) + 1)

    threads = [threading.Thread(target=lambda: [db.retrying(services, add_one) for _ in range(5)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.reading(services) as s:
        assert s.scalars(select(User.name)).one() == "40"


def test_a_deadlock_is_run_again(services: Services) -> None:
    """Two transactions take two rows in opposite order; on MariaDB one is the victim, on SQLite the second one waits."""
    rows = [user(name="a"), user(name="b")]
    with db.session(services) as s:
        s.add_all(rows)
    both_hold_one = threading.Barrier(2)

    def touch(first: User, second: User) -> None:
        meet = [services.engine.dialect.name != "sqlite"]

        def work(s: Session) -> None:
            s.execute(update(User).where(User.id == first.id).values(role=User.role + "x"))
            if meet and meet.pop():
                both_hold_one.wait(10)
            s.execute(update(User).where(User.id == second.id).values(role=User.role + "x"))

        db.retrying(services, work)

    other = threading.Thread(target=touch, args=(rows[1], rows[0]))
    other.start()
    touch(rows[0], rows[1])
    other.join()
    with db.reading(services) as s:
        assert s.scalars(select(User.role)).all() == ["viewerxx", "viewerxx"]


def test_readers_do_not_wait_for_a_writer(services: Services) -> None:
    with db.session(services) as s:
        s.add(user())
        s.flush()
        started = time.monotonic()
        assert count(services) == 0
        assert time.monotonic() - started < 1


def test_an_error_that_is_no_contention_is_not_run_again(services: Services) -> None:
    runs = []

    def work(s: Session) -> None:
        runs.append(1)
        s.execute(text("SELECT * FROM nothing"))

    with pytest.raises(DBAPIError):
        db.retrying(services, work)
    assert len(runs) == 1


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    engine = db.create(Database(lock_timeout_s=1), f"sqlite:///{tmp_path}/x.db")
    migrations.upgrade(engine)
    yield engine
    engine.dispose()


def test_sqlite_connections_are_safe_and_patient(sqlite: Engine) -> None:
    with sqlite.connect() as connection:
        answers = [
            connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "foreign_keys", "synchronous")
        ]
        assert answers == ["wal", 1, 2]
        assert connection.scalar(text("PRAGMA busy_timeout")) == 1000


def test_a_second_sqlite_writer_gives_up_after_the_timeout(sqlite: Engine) -> None:
    class Source:
        engine = sqlite

    with db.session(Source()) as first, db.session(Source()) as second:
        first.add(user())
        first.flush()
        with pytest.raises(OperationalError) as caught:
            second.execute(text("SELECT 1"))
    assert db.is_contention(caught.value)


def test_mariadb_is_asked_for_read_committed(mariadb_url: str) -> None:
    engine = db.create(Database(), mariadb_url)
    with engine.connect() as connection:
        assert connection.get_isolation_level() == "READ COMMITTED"
        assert connection.scalar(text("SELECT @@character_set_connection")) == "utf8mb4"
        assert "STRICT_ALL_TABLES" in str(connection.scalar(text("SELECT @@sql_mode")))
    engine.dispose()


def test_a_mariadb_that_does_not_answer_is_given_up(mariadb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mariadb, "_ANSWER_S", 0)
    engine = db.create(Database(lock_timeout_s=1), mariadb_url)
    with engine.connect() as connection, pytest.raises(OperationalError, match="Lost connection"):
        connection.execute(text("SELECT SLEEP(10)"))
    engine.dispose()


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sqlite:// or mysql\+pymysql://"):
        db.create(Database(), "postgresql://x/y")
