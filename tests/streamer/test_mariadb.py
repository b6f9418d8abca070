"""How MariaDB is connected to; what is then said to it is in test_db.py."""

import ssl
from typing import Any

import pytest
from sqlalchemy import text

from streamer import db
from streamer.config import Database
from streamer.mariadb import UNCHECKED, Connection


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("the system's certificates were read")


def test_a_connection_that_checks_no_certificate_reads_none(mariadb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", _refuse)
    for engine in (made := db.create(Database(), mariadb_url), db.unhurried(made)):
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        engine.dispose()


def test_tls_is_still_used_where_the_server_offers_it() -> None:
    connection = Connection(defer_connect=True)
    assert connection.ssl and connection.ctx is UNCHECKED
    assert UNCHECKED.verify_mode == ssl.CERT_NONE


def test_a_certificate_is_checked_when_that_is_asked_for() -> None:
    connection = Connection(defer_connect=True, ssl_verify_cert=True)
    assert connection.ctx.verify_mode == ssl.CERT_REQUIRED
