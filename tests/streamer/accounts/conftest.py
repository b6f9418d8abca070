"""The whole application behind a real uvicorn, on SQLite and on MariaDB, with three people in it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from streamer import db
from streamer.accounts import users
from streamer.app import create_app
from streamer.config import Config
from streamer.services import Services
from tests.streamer.running import running
from tests.streamer.stack import database_url, make_config, migrated_mariadb, migrated_sqlite, services
from tests.web import NO_TLS

__all__ = ["database_url", "migrated_mariadb", "migrated_sqlite", "services"]

PASSWORD = "correct horse"


@dataclass(frozen=True)
class Site:
    """A running server: its address, and what it has open."""

    url: str
    services: Services
    clients: ExitStack

    def browser(self, **headers: str) -> httpx2.Client:
        """A client that keeps cookies and says, as a browser does, that its requests come from this very site."""
        return self.client({"Sec-Fetch-Site": "same-origin", **headers})

    def bearer(self, secret: str) -> httpx2.Client:
        """A program with an API key."""
        return self.client({"Authorization": f"Bearer {secret}"})

    def client(self, headers: dict[str, str]) -> httpx2.Client:
        """A client that is closed with the site."""
        return self.clients.enter_context(httpx2.Client(base_url=self.url, headers=headers, timeout=20, verify=NO_TLS))

    def signed_in(self, email: str = "ada@example.org") -> httpx2.Client:
        """A browser with a session, which sends its CSRF token."""
        browser = self.browser()
        answer = browser.post("/api/v1/session", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        return browser


@pytest.fixture
def config(tmp_path: Path, database_url: str, redis_url: str) -> Config:
    """As everywhere, with quick password hashes."""
    weak = {"argon2_time": 1, "argon2_memory_kib": 64, "argon2_lanes": 1}
    return make_config(tmp_path, database=database_url, redis=redis_url, accounts=weak)


@pytest.fixture
def site(config: Config) -> Iterator[Site]:
    """A server with an admin (ada), an editor (eve) and a viewer (vic)."""
    app = create_app(config)
    services: Services = app.state.services
    with db.session(services) as s:
        for name, role in (("Ada", "admin"), ("Eve", "editor"), ("Vic", "viewer")):
            email = f"{name.lower()}@example.org"
            users.create(s, config.accounts, email=email, name=name, role=role, password=PASSWORD)
    with running(app) as url, ExitStack() as clients:
        yield Site(url, services, clients)
