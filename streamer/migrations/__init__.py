"""The schema's history, shipped in the package: `streamer migrate` runs it, and `streamer up` at every start.

Hand-written, for SQLite and MariaDB, with types spelled out so that a revision never changes with the code.
`upgrade` is safe to run from several processes at once: SQLite's write lock or a MariaDB advisory lock lets one through.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config as Alembic
from sqlalchemy import Connection, Engine, text

from streamer import db

_LOCK = "streamer.migrate"
_LOCK_WAIT_S = 300


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to `revision`; nothing happens when it is there already."""
    with db.unhurried(engine).connect() as connection, _alone(connection):
        command.upgrade(_alembic(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to `revision` (`base` for nothing at all)."""
    with db.unhurried(engine).connect() as connection, _alone(connection):
        command.downgrade(_alembic(connection), revision)


def _alembic(connection: Connection) -> Alembic:
    config = Alembic(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """One migration at a time. SQLite: the whole of it is one transaction. MariaDB commits each DDL statement by itself."""
    if connection.dialect.name == "sqlite":
        with connection.begin():
            yield
        return
    if connection.scalar(text("SELECT GET_LOCK(:name, :wait)"), {"name": _LOCK, "wait": _LOCK_WAIT_S}) != 1:
        raise TimeoutError(f"another migration has been running for {_LOCK_WAIT_S} s")
    try:
        yield
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK})
        connection.commit()
