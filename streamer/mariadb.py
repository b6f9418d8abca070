"""MariaDB through PyMySQL: the engines of `streamer.db` for it.

Unless the URL says otherwise (`?ssl_ca=…`), PyMySQL encrypts when the server offers to and checks no certificate. For
that it reads all of the system's certificates anew for each connection, which costs more than a login and ten queries.
"""

import ssl
from typing import Any

import pymysql.connections
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from streamer.config import Database

_ANSWER_S = 20
"""Seconds MariaDB may take for an answer beyond the wait for a lock. A server that vanished sends nothing, not even an end."""

_SESSION = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'"

UNCHECKED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""TLS against those who only listen, as PyMySQL prefers it."""
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE


class Connection(pymysql.connections.Connection):
    """PyMySQL's, with one TLS context for all that ask for nothing special."""

    def _create_ssl_ctx(self, asked: Any) -> ssl.SSLContext:
        made: ssl.SSLContext = super()._create_ssl_ctx(asked or UNCHECKED)  # type: ignore[misc]
        return made


def create(config: Database, url: URL) -> Engine:
    """An engine with a pool; connects to nothing yet."""
    engine = create_engine(
        url.update_query_dict({"charset": "utf8mb4"}),
        isolation_level="READ COMMITTED",
        pool_size=config.pool_size,
        max_overflow=config.pool_overflow,
        pool_timeout=config.pool_timeout_s,
        pool_pre_ping=True,
        pool_recycle=280,  # below the five minutes after which common proxies drop an idle connection
        connect_args={
            "connect_timeout": config.connect_timeout_s,
            "read_timeout": config.lock_timeout_s + _ANSWER_S,
            "write_timeout": config.lock_timeout_s + _ANSWER_S,
            "init_command": f"{_SESSION}, innodb_lock_wait_timeout = {config.lock_timeout_s:d}",
        },
    )
    return _with_our_connections(engine)


def unhurried(url: URL) -> Engine:
    """An engine without a limit on the time of an answer, whose connections close after use."""
    connecting = {"connect_timeout": _ANSWER_S, "init_command": _SESSION}
    return _with_our_connections(
        create_engine(url, isolation_level="READ COMMITTED", poolclass=NullPool, connect_args=connecting)
    )


def _with_our_connections(engine: Engine) -> Engine:
    @event.listens_for(engine, "do_connect")
    def connect(dialect: object, record: object, args: list[Any], options: dict[str, Any]) -> Connection:
        return Connection(*args, **options)

    return engine
