"""Every list, whatever its filters: what one page costs the database is the same in a small library and in one five times as large, it is read
in the order of an index, and with as many queries as a page of two. Lists are found in the router: a new one that is not asked here fails."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
import structlog
from sqlalchemy import Engine, event
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from streamer import db
from streamer.accounts import apikeys, rolebook, users
from streamer.accounts.tables import User
from streamer.app import create_app
from streamer.catalog import shared
from tests import library
from tests.servers import fresh_database
from tests.streamer.running import running
from tests.streamer.stack import make_config, migrate, migrated_mariadb, migrated_sqlite
from tests.web import NO_TLS

__all__ = ["migrated_mariadb", "migrated_sqlite"]

SMALL, LARGE, PAGE = 200, 1000, 5
LISTS = {
    "/assets": [
        "q=winter",
        "q=wint&cursor={cursor}",
        "q=winter night",
        "q=nothing",
        "cursor={cursor}",
        "shared=true",
        "shared=true&cursor={cursor}",
    ],
    "/uploads": ["state=failed", "state=received", "cursor={cursor}"],
    "/jobs": [
        "state=failed",
        "state=succeeded&cursor={cursor}",
        "state=running",
        "subject_id=ver_00000000000000000000",
    ],
    "/users": ["cursor={cursor}"],
    "/events": ["after=0", "after=100", "after=0&type=asset.errored", "after=0&type=asset.deleted"],
    "/playback-sessions": ["asset_id={asset}", "cursor={cursor}"],
    "/audit": [f"user_id={library.HOARDER}", "action=asset.create", "subject_id={asset}", "cursor=100"],
    "/webhook-endpoints": [],
    "/api-keys": [],
    "/invitations": [],
    "/workers": [],
    "/roles": [],
    "/cache": [],
    "/plans": [],
    "/me/sessions": [],
    "/me/providers": [],
    f"/webhook-endpoints/{library.ENDPOINT}/deliveries": ["state=dead", "state=pending", "cursor={cursor}"],
    "/collections": ["cursor={cursor}"],
    f"/collections/{library.COLLECTION}/films": ["cursor={cursor}"],
    f"/collections/{library.COLLECTION}/grants": [],
    "/assets/{asset}/versions": [],
    "/assets/{asset}/renditions": [],
    "/assets/{asset}/playback-ids": [],
}
WITHOUT_KEY = {"/me/sessions", "/me/providers"}  # these ask for a session
ROWS = 14
"""What a page may read of the database's rows for each row it shows: the row itself, and what belongs to it."""


@dataclass
class Asked:
    """A list as one person asks for it, what it showed, and the SELECTs it took."""

    rows: int
    selects: list[tuple[str, Any]]


@dataclass
class House:
    """A running server on a library, with clients of an administrator, of a person with many films and of one who sees collections only."""

    app: Starlette
    engine: Engine
    clients: dict[str, httpx2.Client]

    @property
    def slack(self) -> int:
        """What a page may cost more by chance: a few rows, or the steps that they take."""
        return 5 if self.engine.dialect.name == "sqlite" else ROWS * PAGE

    def ask(self, who: str, where: str, limit: int = PAGE) -> Asked:
        found: list[tuple[str, Any]] = []

        def note(connection: object, cursor: object, statement: str, parameters: Any, *rest: object) -> None:
            in_request = "request_id" in structlog.contextvars.get_contextvars()  # the server has rounds of its own
            if in_request and statement.startswith(("SELECT", "WITH")):
                found.append((statement, parameters))

        event.listen(self.engine, "before_cursor_execute", note)
        try:
            answer = self.clients[who].get(f"{where}{'&' if '?' in where else '?'}limit={limit}")
        finally:
            event.remove(self.engine, "before_cursor_execute", note)
        assert answer.status_code in (200, 403), (where, answer.text)
        return Asked(len(answer.json().get("data", [])), found)

    def cost(self, selects: list[tuple[str, Any]]) -> int:
        """Rows that the database looked at for them; of SQLite, which does not count rows, hundreds of steps of its machine."""
        return sum(self._cost(*one) for one in selects)

    def _cost(self, statement: str, parameters: Any) -> int:
        connection = self.engine.raw_connection()
        try:
            if self.engine.dialect.name == "sqlite":
                return _steps(connection.driver_connection, statement, parameters)
            return _reads(connection.cursor(), statement, parameters)
        finally:
            connection.close()

    def plan(self, statement: str, parameters: Any) -> list[Sequence[Any]]:
        explain = "EXPLAIN QUERY PLAN" if self.engine.dialect.name == "sqlite" else "EXPLAIN"
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(f"{explain} {statement}", parameters)
            return list(cursor.fetchall())
        finally:
            connection.close()


def _steps(connection: Any, statement: str, parameters: Any) -> int:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 100)
    try:
        connection.execute(statement, parameters).fetchall()
    finally:
        connection.set_progress_handler(None, 0)
    return steps


def _reads(cursor: Any, statement: str, parameters: Any) -> int:
    def total() -> int:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())

    before = total()
    cursor.execute(statement, parameters)
    cursor.fetchall()
    return total() - before


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey: str, broom: redis.Redis
) -> Iterator[House]:
    broom.flushall()
    folder = tmp_path_factory.mktemp("lists")
    config = make_config(folder, database=_database(request, folder), redis=valkey)
    app = create_app(config)
    services = app.state.services
    library.fill(services.engine, 0, SMALL)
    with db.session(services) as s:
        weak = config.accounts.model_copy(update={"argon2_memory_kib": 64})
        admin = users.create(s, weak, email="a@example.org", name="A", role="admin", password="long enough")
        watcher = users.create(s, weak, email="v@example.org", name="V", role="viewer", password="long enough")
        people = {"administrator": admin, "hoarder": s.get_one(User, library.HOARDER), "viewer": watcher}
        secrets = {who: apikeys.issue(s, user, name="k")[1] for who, user in people.items()}
    with running(app) as url, ExitStack() as open_:
        clients = {who: open_.enter_context(_client(url, secret)) for who, secret in secrets.items()}
        yield House(app, services.engine, clients)


def _client(url: str, secret: str) -> httpx2.Client:
    bearer = {"Authorization": f"Bearer {secret}"}
    return httpx2.Client(base_url=f"{url}/api/v1", headers=bearer, verify=NO_TLS, timeout=20)


def _database(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), folder / "streamer.db")
        return f"sqlite:///{folder}/streamer.db"
    url = fresh_database(request.getfixturevalue("mariadb"))
    migrate(url)
    return url


def test_every_list_is_asked_here(house: House) -> None:
    mount = next(route for route in house.app.routes if isinstance(route, Mount) and route.path == "/api/v1")
    routes = {r.path for r in mount.routes if isinstance(r, Route) and "GET" in (r.methods or ()) and "{" not in r.path}
    asked = {path for path in LISTS if "{" not in path} | WITHOUT_KEY
    for path in routes - asked:
        answer = house.clients["administrator"].get(path).text
        assert '"data":[' not in answer.replace(" ", ""), f"{path} is a list"


def test_a_page_costs_the_same_in_a_large_library(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolebook, "COUNTED", 20)  # people of a role, which are counted up to there
    monkeypatch.setattr(shared, "COLLECTIONS", 10)  # the same of the collections that films are shown of
    asked = list(_asked(house))
    small = {key: house.cost(house.ask(*key).selects) for key in asked}
    library.fill(house.engine, SMALL, LARGE)
    found = {key: house.ask(*key) for key in asked}
    large = {key: house.cost(one.selects) for key, one in found.items()}
    grown = {key: (small[key], large[key]) for key in asked if large[key] > 1.5 * small[key] + house.slack}
    assert not grown, {key: [house.plan(*one) for one in found[key].selects] for key in grown}
    if house.engine.dialect.name == "mariadb":
        costly = {key: cost for key, cost in large.items() if cost > ROWS * (found[key].rows + PAGE)}
        assert not costly
    pages = {str(one): one for each in found.values() for one in each.selects if "LIMIT" in one[0]}
    sorted_ = [plan for one in pages.values() for plan in house.plan(*one) if _sorts(plan)]
    assert not sorted_


def _sorts(plan: Sequence[Any]) -> bool:
    """Whether the database sorts what could be many rows; MariaDB may rather sort a handful."""
    return "TEMP B-TREE FOR ORDER BY" in str(plan) or (
        "filesort" in str(plan) and int(str(plan[8]).split()[0]) > ROWS * PAGE
    )


def test_a_page_of_fifty_takes_as_many_queries_as_one_of_two(house: House) -> None:
    asked = {key: [house.ask(*key, limit).selects for limit in (2, 50)] for key in _asked(house)}
    assert not {key: (few, many) for key, (few, many) in asked.items() if len(few) != len(many)}


def _asked(house: House) -> Iterator[tuple[str, str]]:
    """Each list with each of its filters, by each of the people."""
    for who, client in house.clients.items():
        newest = house.clients["administrator"].get("/assets", params={"limit": 1}).json()["data"]
        asset = newest[0]["id"]
        for path, filters in LISTS.items():
            where = path.format(asset=asset)
            cursor = client.get(where, params={"limit": 100}).json().get("next_cursor")
            yield who, where
            for each in filters if cursor else (one for one in filters if "{cursor}" not in one):
                yield who, f"{where}?{each.format(asset=asset, cursor=cursor)}"
