"""An open `Services` on real servers: SQLite and MariaDB in turn, Valkey, files on disk."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pymysql
import pytest
from pymysql.constants import CLIENT
from sqlalchemy import make_url

from streamer import db, migrations
from streamer.config import Config, Database
from streamer.services import Services, close_services, open_services
from tests.servers import fresh_database


def make_config(data: Path, *, database: str, redis: str, storage: str = "", **sections: dict[str, object]) -> Config:
    """The configuration of a small, impatient server."""
    return Config.model_validate(
        {
            "data": {"dir": data},
            "database": {"url": database},
            "redis": {"url": redis},
            "storage": {"url": storage},
            **sections,
        }
    )


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with empty tables, once of each kind."""
    return empty_tables(request, request.param, tmp_path)


def empty_tables(request: pytest.FixtureRequest, kind: str, folder: Path) -> str:
    if kind == "sqlite":
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), folder / "streamer.db")
        return f"sqlite:///{folder}/streamer.db"
    url: str = request.getfixturevalue("migrated_mariadb")
    _empty(url)
    return url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to copy: a migration takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "streamer.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_mariadb(mariadb: str) -> str:
    """A database to empty, for the same reason."""
    url = fresh_database(mariadb)
    migrate(url)
    return url


def migrate(url: str) -> None:
    engine = db.create(Database(), url)
    migrations.upgrade(engine)
    engine.dispose()


def _empty(url: str) -> None:
    """In two round trips; a DELETE for each of all the tables would take longer than many a test."""
    tables = sorted(db.Base.metadata.tables)
    filled = " UNION ALL ".join(f"SELECT '{table}' FROM DUAL WHERE EXISTS (SELECT 1 FROM {table})" for table in tables)
    with _connected(url) as connection, connection.cursor() as cursor:
        cursor.execute(filled)
        deletes = [f"DELETE FROM {table}" for (table,) in cursor.fetchall()]
        heads = (  # as the migrations do
            "INSERT INTO event_heads (id, sequence) VALUES (1, 0)",
            "INSERT INTO audit_heads (id, sequence, hash) VALUES (1, 0, REPEAT('0', 64))",
        )
        cursor.execute("; ".join(["SET foreign_key_checks = 0", *deletes, *heads, "COMMIT"]))
        while cursor.nextset():
            pass  # a statement that failed raises here


def _connected(url: str) -> "pymysql.Connection[Any]":
    parsed = make_url(url)
    return pymysql.connect(
        host=parsed.host,
        port=parsed.port or 0,
        user=parsed.username,
        database=parsed.database,
        ssl_disabled=True,
        client_flag=CLIENT.MULTI_STATEMENTS,
    )


@pytest.fixture
def config(tmp_path: Path, database_url: str, redis_url: str) -> Config:
    """Settings for that database, an empty Valkey and a folder."""
    quick = {"lease_s": 2.0, "heartbeat_s": 0.5, "sweep_s": 0.3, "backoff_s": 0.2, "max_attempts": 3}
    weak = {"argon2_time": 1, "argon2_memory_kib": 64, "argon2_lanes": 1}
    return make_config(
        tmp_path, database=database_url, redis=redis_url, jobs=quick, ingest={"min_free_bytes": 0}, accounts=weak
    )


@pytest.fixture
def services(config: Config) -> Iterator[Services]:
    """All of it open, with the tables there."""
    opened = open_services(config)
    yield opened
    close_services(opened)


T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout_s: float = 20.0) -> T:
    """The first true answer. Asked more and more seldom: a condition may be a request, and others need the machine."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.01
    while True:
        if answer := condition():
            return answer
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause_s)
        pause_s = min(1.2 * pause_s, 0.1)
