"""The schema's history, shipped in the package: `streamer migrate` runs it, and `streamer up` at every start.

Hand-written, for SQLite and MariaDB, with types spelled out so that a revision never changes with the code.
`upgrade` is safe to run from several processes at once: SQLite's write lock or a MariaDB advisory lock lets one through.
Every command asks for it, so a database that is up to date is told by one query, and Alembic is imported for others only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from streamer import db

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK = "streamer.migrate"
_LOCK_WAIT_S = 300


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to `revision`; nothing happens when it is there already.

    Nothing happens either when a newer program has brought it further: each revision leaves the program before it at work.
    """
    with db.unhurried(engine).connect() as connection:
        if revision == "head" and (_revision(connection) or "") >= newest():
            return
        connection.rollback()
        with _alone(connection):
            from alembic import command

            command.upgrade(_alembic(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to `revision` (`base` for nothing at all)."""
    from alembic import command

    with db.unhurried(engine).connect() as connection, _alone(connection):
        command.downgrade(_alembic(connection), revision)


def newest() -> str:
    """The revision that `head` means: files are named `<revision>_<what>.py`, and there is one line of them."""
    return max(path.name.partition("_")[0] for path in (Path(__file__).parent / "versions").glob("[0-9]*.py"))


def _revision(connection: Connection) -> str | None:
    """The database's; None before its first migration."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _alembic(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
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
