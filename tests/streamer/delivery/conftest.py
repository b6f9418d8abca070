"""The whole application on real servers, once per database and module; each test gets films of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from streamer import db, migrations
from streamer.accounts import apikeys, users
from streamer.app import create_app
from streamer.catalog import assets, playback_ids, versions
from streamer.catalog.tables import Asset, PlaybackId, Policy
from streamer.catalog.versions import Facts, Source
from streamer.config import Config
from streamer.delivery import kills
from streamer.delivery.tables import PlaybackSession
from streamer.services import Services
from tests.servers import fresh_database
from tests.streamer.delivery.serving import VERSION, fill
from tests.streamer.running import running
from tests.streamer.stack import make_config
from tests.web import NO_TLS

DURATION_S = 300.0
SOURCE = Source(key="sources/x", name="x.mp4", size=1, sha256="0" * 64)


@dataclass(frozen=True)
class House:
    """A running server with an admin, an editor and a viewer, who each have an API key."""

    url: str
    services: Services
    keys: dict[str, str]
    editor_id: str


@dataclass(frozen=True)
class Cinema:
    """A film of the editor's with a public and a private playback id, and one that isn't made yet."""

    url: str
    services: Services
    keys: dict[str, str]
    clients: ExitStack
    asset_id: str
    public: str
    private: str
    unmade: str

    def client(self, who: str | None = None, **headers: str) -> httpx2.Client:
        """Someone with an API key, or nobody."""
        known = {"Authorization": f"Bearer {self.keys[who]}"} if who else {}
        return self.clients.enter_context(
            httpx2.Client(base_url=self.url, headers={**known, **headers}, timeout=20, verify=NO_TLS)
        )

    def open(self, playback_id: str, who: str | None = None) -> Any:
        """A new session as the API answers it."""
        answer = self.client(who).post("/api/v1/playback-sessions", json={"playback_id": playback_id})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def change(self, table: type[Asset | PlaybackId | PlaybackSession], **values: object) -> None:
        """Set columns of the film's rows."""
        owner = Asset.id if table is Asset else table.asset_id
        with db.session(self.services) as s:
            s.execute(update(table).where(owner == self.asset_id).values(**values))


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey: str) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    url = f"sqlite:///{folder}/streamer.db"
    if request.param == "mariadb":
        url = fresh_database(request.getfixturevalue("mariadb"))
    weak = {"argon2_time": 1, "argon2_memory_kib": 64, "argon2_lanes": 1}
    config = make_config(folder, database=url, redis=valkey, accounts=weak)
    app = create_app(config)
    services: Services = app.state.services
    migrations.upgrade(services.engine)
    with db.session(services) as s:
        keys = {role: _key(s, config, role) for role in ("admin", "editor", "viewer")}
        editor = users.find(s, "editor@example.org").id
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kills, "REFRESH_S", 0.2)
        with running(app) as address:
            yield House(address, services, keys, editor)


@pytest.fixture
def cinema(house: House) -> Iterator[Cinema]:
    with db.session(house.services) as s:
        film, unmade = (assets.create(s, house.editor_id, title).id for title in ("Film", "Unmade"))
        _make(s, film)
        versions.create(s, unmade, SOURCE)
        public, private = (playback_ids.create(s, film, policy).id for policy in (Policy.PUBLIC, Policy.PRIVATE))
        later = playback_ids.create(s, unmade, Policy.PUBLIC).id
    fill(house.services.store, f"{film}/{VERSION}")
    with ExitStack() as clients:
        yield Cinema(house.url, house.services, house.keys, clients, film, public, private, later)


def _key(s: Session, config: Config, role: str) -> str:
    user = users.create(s, config.accounts, email=f"{role}@example.org", name=role, role=role, password="correct horse")
    return apikeys.issue(s, user, name="test")[1]


def _make(s: Session, asset_id: str) -> None:
    version = versions.create(s, asset_id, SOURCE)
    path = f"{asset_id}/{VERSION}"
    versions.publish(s, version.id, Facts(path, DURATION_S, 1920, 1080, poster=True, renditions=(), report={}))
