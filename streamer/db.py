"""SQL: the engine for SQLite or MariaDB, transactions, and the column types every table shares.

    with db.session(services) as s:        # one write transaction, committed at the end (SQLite: BEGIN IMMEDIATE)
    with db.reading(services) as s:        # one read transaction; never write in it
    db.retrying(services, lambda s: …)     # the whole write transaction again on a deadlock or a lock timeout

`source` is anything with an `engine`: the `Services` of a request (`request.app.state.services`) or of a worker.
Objects stay readable after the commit (`expire_on_commit=False`). Everything here blocks: in the web process it runs
in Starlette's threadpool (plain `def` endpoints).

SQLite: WAL, foreign keys on, full sync (what was answered survives a power cut), one writer at a time. A write
transaction takes the lock with its first statement, because busy_timeout does not cover the upgrade of a read lock.
MariaDB: READ COMMITTED, so a reader never waits; connections are tested before use and renewed before the server's timeout.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    Engine,
    Float,
    MetaData,
    String,
    create_engine,
    event,
    func,
    literal,
    make_url,
    null,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from streamer import ids
from streamer.config import Database

T = TypeVar("T")

_BEGIN = "sqlite_begin"
_AT_END = "at_end"
_MARIADB_RETRY = {1020, 1205, 1213}  # record changed, lock wait timeout, deadlock: the whole transaction may run again


class Base(DeclarativeBase):
    """The declarative base of every table. Constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def exact(length: int, *, ascii_only: bool = False) -> TypeEngine[str]:
    """Text compared byte for byte on every database: ids, hashes, keys, states, e-mail addresses. `length` in characters."""
    charset = "ascii" if ascii_only else "utf8mb4"
    variant = mysql.VARCHAR(length, charset=charset, collation=f"{charset}_bin")
    return String(length).with_variant(variant, "mysql", "mariadb")


Id = exact(ids.LENGTH, ascii_only=True)
"""The type of every id and of every foreign key to one: `mapped_column(Id, primary_key=True)`."""

Code = exact(32, ascii_only=True)
"""States, kinds, roles and policies: short words of ours."""

Json = JSON(none_as_null=True)
"""A JSON document; Python's None is SQL's NULL."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes in Python, naive ones with microseconds in the database; a naive one from Python is refused."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone; use db.now()")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def now() -> datetime:
    """This machine's clock, aware. For leases and deadlines shared between machines use `database_now`."""
    return datetime.now(UTC)


class _DatabaseNow(FunctionElement[datetime]):
    type = UtcDateTime()
    inherit_cache = True
    name = "database_now"


def database_now(plus_s: float = 0.0) -> FunctionElement[datetime]:
    """SQL: the database's clock plus `plus_s` seconds (may be negative), comparable with UtcDateTime columns."""
    return _DatabaseNow(literal(float(plus_s), Float()))


@compiles(_DatabaseNow, "sqlite")
def _sqlite_now(element: _DatabaseNow, compiler: SQLCompiler, **options: Any) -> str:
    # Three decimals are all that SQLite's clock has; the zeros make the text sort among stored microseconds.
    seconds = compiler.process(element.clauses, **options)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%+.3f seconds', {seconds})) || '000')"


@compiles(_DatabaseNow, "mysql", "mariadb")
def _mariadb_now(element: _DatabaseNow, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"TIMESTAMPADD(MICROSECOND, ROUND({seconds} * 1000000), UTC_TIMESTAMP(6))"


beside: ContextVar[Callable[[Session], None] | None] = ContextVar("beside", default=None)
"""What each write transaction of the present request does at its end, see `accounts.idempotency`."""


def looked_at(column: ColumnElement[T] | InstrumentedAttribute[T]) -> ColumnElement[T]:
    """The column where it only filters what another index found: SQLite would rather read an index of it, through half of the table."""
    return func.coalesce(column, null())


class HasEngine(Protocol):
    """What transactions need of Services."""

    @property
    def engine(self) -> Engine: ...


@contextmanager
def session(source: HasEngine) -> Iterator[Session]:
    """One write transaction: committed when the block ends, rolled back when it raises."""
    with _transaction(source, "IMMEDIATE") as s:
        yield s
        if (work := beside.get()) is not None:
            work(s)


@contextmanager
def reading(source: HasEngine) -> Iterator[Session]:
    """One read transaction: never waits for a writer, never makes one wait."""
    with _transaction(source, "DEFERRED") as s:
        yield s


def at_end(s: Session, work: Callable[[Session], None]) -> None:
    """Have `work(s)` done as the last thing before the commit: what locks a row that everybody needs holds it no longer than it must."""
    s.info[_AT_END].append(work)


def retrying(source: HasEngine, work: Callable[[Session], T], *, tries: int = 5) -> T:
    """`work(session)` in one write transaction, the whole of it again (at most `tries` times) when the database says so.

    `work` must have no effect outside the transaction. Losing the connection is not retried: the commit may have happened.
    """
    for attempt in range(1, tries + 1):
        try:
            with session(source) as s:
                return work(s)
        except DBAPIError as error:
            if attempt == tries or not is_contention(error):
                raise
            time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable: the last try returns or raises")


def is_contention(error: DBAPIError) -> bool:
    """Whether the transaction only lost a race for a lock, so that all of it may run again."""
    cause = error.orig
    if cause is None or not cause.args:
        return False
    return cause.args[0] in _MARIADB_RETRY or "database is locked" in str(cause)


def create(config: Database, url: str) -> Engine:
    """The engine for a SQLAlchemy URL; connects to nothing yet. Dispose of it after a fork, in the child."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(config, parsed)
    if parsed.get_backend_name() in ("mysql", "mariadb"):
        from streamer import mariadb

        return mariadb.create(config, parsed)
    raise ValueError(f"database.url must be sqlite:// or mysql+pymysql://, not {parsed.drivername}://")


def unhurried(engine: Engine) -> Engine:
    """The same database without a limit on the time of an answer, for changes of the schema. Its connections close after use."""
    if engine.dialect.name == "sqlite":
        return engine
    from streamer import mariadb

    return mariadb.unhurried(engine.url)


def _sqlite(config: Database, url: URL) -> Engine:
    engine = create_engine(
        url, pool_size=config.pool_size, max_overflow=config.pool_overflow, pool_timeout=config.pool_timeout_s
    )

    @event.listens_for(engine, "do_connect")
    def make(dialect: Dialect, record: object, args: list[Any], options: dict[str, Any]) -> None:
        """Password hashes are in it: a new file is for its owner only, whatever folder it is in. What stands beside it takes its mode."""
        if args and args[0] != ":memory:":
            os.close(os.open(args[0], os.O_CREAT | os.O_RDWR, 0o600))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes late and is DEFERRED; ours is below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {config.lock_timeout_s * 1000:d}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'IMMEDIATE')}")

    return engine


@contextmanager
def _transaction(source: HasEngine, begin: str) -> Iterator[Session]:
    bound = source.engine.execution_options(**{_BEGIN: begin})
    cache = getattr(source, "cache", None)  # what `streamer.cache` has to tell of a change
    info = {_AT_END: [], **({} if cache is None else {"cache": cache})}
    with Session(bound, expire_on_commit=False, info=info) as s, s.begin():
        yield s
        for work in s.info[_AT_END]:
            work(s)
