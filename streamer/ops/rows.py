"""All rows of the database as JSON Lines, the same from SQLite and from MariaDB, so that either can be filled from the other.

Values are as the database keeps them: JSON columns as their text, times in UTC with microseconds.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, column, inspect, table, text

REVISION = "alembic_version"
_TIME = "%Y-%m-%d %H:%M:%S.%f"
_AT_ONCE = 500


def revision(connection: Connection) -> str | None:
    """The schema's; None when there is none."""
    if not inspect(connection).has_table(REVISION):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {REVISION}"))
    return found


def tables(connection: Connection) -> list[str]:
    """All but the schema's own."""
    return sorted(name for name in inspect(connection).get_table_names() if name != REVISION)


@contextmanager
def at_one_time(engine: Engine) -> Iterator[Connection]:
    """All that is read in the block is from the same moment, and nobody who writes waits for it."""
    with engine.connect().execution_options(sqlite_begin="DEFERRED") as connection:
        if engine.dialect.name != "sqlite":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            connection.execute(text("SELECT 1 FROM users LIMIT 1"))  # the first statement is the moment
            yield connection


def dump(connection: Connection, name: str, path: Path) -> int:
    """Write a table as gzipped JSON Lines, one object a row; how many there were."""
    names = [each["name"] for each in inspect(connection).get_columns(name)]
    wanted = table(name, *(column(each) for each in names)).select()
    count = 0
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as file:
        for row in connection.execution_options(stream_results=True, yield_per=_AT_ONCE).execute(wanted):
            file.write(json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False) + "\n")
            count += 1
    return count


def load(connection: Connection, name: str, lines: Iterator[str], loaded: Callable[[int], object]) -> int:
    """Insert what `dump` wrote into an empty table; `loaded` hears how many so far."""
    count = 0
    while rows := [json.loads(line) for line in islice(lines, _AT_ONCE)]:
        target = table(name, *(column(each) for each in rows[0]))
        connection.execute(target.insert(), rows)
        count += len(rows)
        loaded(count)
    return count


@contextmanager
def unchecked(connection: Connection) -> Iterator[None]:
    """Rows that refer to each other may come in any order; SQLite looks at all of them when the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        yield
        return
    connection.execute(text("SET foreign_key_checks = 0"))
    try:
        yield
    finally:
        connection.execute(text("SET foreign_key_checks = 1"))


def empty(connection: Connection, names: Sequence[str]) -> None:
    """Remove the rows that migrations made: the dump has them too."""
    for name in names:
        connection.execute(table(name).delete())


def _plain(value: Any) -> Any:
    return value.strftime(_TIME) if isinstance(value, datetime) else value
