"""A server behind a trusted proxy, so that its clients come from wherever they say. One database is enough: nothing here depends on it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from streamer.app import create_app
from streamer.config import Config
from tests.streamer.accounts.conftest import Site
from tests.streamer.running import running
from tests.streamer.stack import empty_tables, make_config


def small(request: pytest.FixtureRequest, folder: Path, redis_url: str, **sections: dict[str, object]) -> Config:
    """Quick password hashes, empty tables, and the sections that a test is about."""
    weak = {"argon2_time": 1, "argon2_memory_kib": 64, "argon2_lanes": 1}
    accounts = weak | sections.pop("accounts", {})
    url = empty_tables(request, "sqlite", folder)
    return make_config(folder, database=url, redis=redis_url, accounts=accounts, **sections)


@contextmanager
def opened(config: Config) -> Iterator[Site]:
    app = create_app(config)
    with running(app, trusted_proxies=("127.0.0.1",)) as url, ExitStack() as clients:
        yield Site(url, app.state.services, clients)


def from_address(site: Site, address: str) -> httpx2.Client:
    return site.client({"X-Forwarded-For": address})
