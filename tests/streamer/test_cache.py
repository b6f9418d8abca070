"""The cache may save work and may never be noticed: who was told of a change sees it, whoever made it and whatever happens to Redis."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import pytest
import structlog
from sqlalchemy import Engine, event, update
from sqlalchemy.orm import Session

from streamer import cache, db
from streamer.accounts import rolebook, users
from streamer.accounts.tables import ApiKey, User
from streamer.cache import Cache
from streamer.catalog import assets, playback_ids, versions
from streamer.catalog.tables import Asset, Policy, Publication, Stage, Version
from streamer.catalog.versions import Growth
from streamer.jobs import jobs, progress
from streamer.sections import Cache as Settings
from streamer.services import Services
from tests.streamer.site_under_test import Site, site
from tests.streamer.stack import config, database_url, migrated_mariadb, migrated_sqlite, services
from tests.web import NO_TLS

__all__ = ["config", "database_url", "migrated_mariadb", "migrated_sqlite", "services", "site"]


def test_every_change_is_seen_by_the_next_who_asks(site: Site) -> None:
    film, version, job = site.film(site.user("editor"), "Before", policy=Policy.PUBLIC)
    admin = site.as_("admin")

    def seen() -> tuple[object, ...]:
        """What each kept answer says, twice: the second is the cache's."""
        for _ in range(2):
            listed, read = admin.get("/assets"), admin.get(f"/assets/{film.id}")
            link = httpx2.get(f"{site.base}/watch/{name}/state", verify=NO_TLS)
            front = httpx2.get(f"{site.base}/", verify=NO_TLS).text
        kept = [answer.headers.get("cache-status") for answer in (listed, read)]
        return (*(listed.json()["data"] or [None]), read.json(), link.json(), "Before" in front, "After" in front, kept)

    with db.reading(site.services) as s:
        name = playback_ids.of(s, [film.id])[film.id][0].id
    for change, told in CHANGES.items():
        before = seen()
        if change == "published":
            site.publish(version, job)
        else:
            with db.session(site.services) as s:
                told(s, s.get_one(Asset, film.id), s.get_one(Version, version.id))
        after = seen()
        assert after[:-1] != before[:-1], change
    assert seen()[0] is None


def _grown(s: Session, film: Asset, version: Version) -> None:
    versions.grow(s, version.id, Growth(Stage.START, f"{film.id}/abc", 4.0, 12.5, 1280, 720, True))


CHANGES: dict[str, Callable[..., object]] = {
    "grown": _grown,
    "title": lambda s, film, version: assets.change(s, film, title="After"),
    "published": lambda s, film, version: None,
    "another link": lambda s, film, version: playback_ids.create(s, film.id, Policy.PRIVATE),
    "in bulk": lambda s, film, version: s.execute(update(Version).where(Version.id == version.id).values(height=1)),
    "another version": lambda s, film, version: versions.create(s, film.id, versions.Source("k", "n", 1, "0" * 64)),
    "archived": lambda s, film, version: assets.change(s, film, publication=Publication.ARCHIVED),
    "deleted": lambda s, film, version: assets.delete(s, film),
}


def test_what_an_account_may_do_is_what_it_may_do_now(site: Site) -> None:
    with db.session(site.services) as s:
        rolebook.create(s, "watcher", ["any:users:read"], None)
    client, user = site.as_("watcher"), site.user("watcher")
    assert [client.get("/users").status_code for _ in range(3)] == [200] * 3
    rename(site.services, user.id, "Another")
    assert "Another" in [one["name"] for one in client.get("/users").json()["data"]]
    with db.session(site.services) as s:
        rolebook.change(s, "watcher", ["any:jobs:read"], None)
    assert client.get("/users").status_code == 403
    with db.session(site.services) as s:
        users.set_role(s, user.id, "billing", None)
    assert "any:jobs:read" not in client.get("/me").json()["permissions"]
    with db.session(site.services) as s:
        users.set_disabled(s, user.id, True, None)
    assert client.get("/me").status_code == 401
    with db.session(site.services) as s:
        users.set_disabled(s, user.id, False, None)
    assert client.get("/me").status_code == 200
    with db.session(site.services) as s:
        s.execute(update(ApiKey).where(ApiKey.user_id == user.id).values(revoked_at=db.now()))
    assert client.get("/me").status_code == 401


def test_the_list_of_jobs_is_what_the_jobs_are(site: Site) -> None:
    _, _, job = site.film(site.user("editor"))
    watcher, owner, other = site.as_("admin"), site.as_("editor"), site.as_("member")

    def listed(client: httpx2.Client = watcher, **query: str) -> list[str]:
        answers = [client.get("/jobs", params=query) for _ in range(2)]
        assert answers[0].json() == answers[1].json() and answers[1].headers["cache-status"] == "streamer; hit"
        return [one["state"] for one in answers[0].json()["data"]]

    assert (listed(), listed(owner), listed(other), listed(state="failed")) == (["queued"], ["queued"], [], [])
    with db.session(site.services) as s:
        claim = jobs.claim(s, job.id, "w1", 20)
    assert claim is not None and listed() == ["running"]
    progress.write(site.services.kv_sync, job.id, progress.Progress("encoding", 50))
    assert watcher.get("/jobs").json()["data"][0]["progress"]["percent"] == 50
    with db.session(site.services) as s:
        assert jobs.renew(s, claim, 20)
    assert watcher.get("/jobs").headers["cache-status"] == "streamer; hit", "what nobody sees changes nothing"
    with db.session(site.services) as s:
        jobs.finish(s, claim)
    assert (listed(owner), listed(state="succeeded")) == (["succeeded"], ["succeeded"])


def test_a_busy_key_is_noted_once_and_stays_in_the_cache(site: Site) -> None:
    client = site.as_("admin")
    client.get("/me")
    with statements("UPDATE", "INSERT", "DELETE") as written:
        assert [client.get("/me").status_code for _ in range(5)] == [200] * 5
    assert written == []


def test_what_was_read_before_a_change_is_not_kept_after_it(services: Services) -> None:
    user = person(services)

    def make() -> tuple[str, bool]:
        with db.reading(services) as s:
            found = s.get_one(User, user.id).name
        rename(services, user.id, "new")
        return found, True

    tags = cache.rows("people", user.id)
    assert services.cache.text("t", "k", tags, make) == ("old", False)
    assert services.cache.text("t", "k", tags, lambda: (name_of(services, user.id), True)) == ("new", False)
    assert services.cache.text("t", "k", tags, lambda: ("-", True)) == ("new", True)


def test_a_change_that_is_taken_back_leaves_the_cache_at_work(services: Services) -> None:
    user = person(services)
    with pytest.raises(ZeroDivisionError), db.session(services) as s:
        s.get_one(User, user.id).name = "never"
        s.flush()
        raise ZeroDivisionError
    tags = cache.rows("people", user.id)
    assert [services.cache.text("t", "k", tags, lambda: ("kept", True))[1] for _ in range(3)] == [False, True, True]


def test_a_writer_that_dies_at_the_commit_leaves_nothing_to_believe(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_HOLD_S", 1)
    ask = asking(services.cache)
    assert ask("before") == "before" == ask("kept")
    services.cache.hold(["g"])
    assert (ask("during"), ask("also during")) == ("during", "also during")
    time.sleep(1.1)
    assert (ask("after"), ask("kept")) == ("after", "after")


def test_one_of_two_writers_who_is_done_does_not_speak_for_the_other(services: Services) -> None:
    ask = asking(services.cache)
    first, second = services.cache.hold(["g"]), services.cache.hold(["g"])
    services.cache.release(["g"], first)
    assert (ask("a"), ask("b")) == ("a", "b")
    services.cache.release(["g"], second)
    assert (ask("c"), ask("d")) == ("c", "c")


def test_without_redis_answers_come_from_the_database(services: Services, tmp_path: object) -> None:
    services.kv_sync.flushall()
    ask = asking(services.cache)
    assert (ask("a"), ask("b")) == ("a", "a")
    services.kv_sync.flushall()
    assert (ask("c"), ask("d")) == ("c", "c")
    away = Cache(Settings(), type(services.kv_sync).from_url(f"unix://{tmp_path}/nobody.sock"))
    ask = asking(away)
    assert (ask("a"), ask("b")) == ("a", "b")
    off = asking(Cache(Settings(enabled=False), services.kv_sync))
    assert (off("x"), off("y")) == ("x", "y")


def test_nobody_sees_less_than_they_were_told(services: Services) -> None:
    """One writes numbers, others read them through the cache: each number read is at least the last one that was acknowledged before."""
    user = person(services)
    told, over, wrong = [0], threading.Event(), list[tuple[int, int]]()
    rename(services, user.id, "0")

    def read() -> None:
        while not over.is_set():
            least = told[0]
            text, _ = services.cache.text(
                "t", "k", cache.rows("people", user.id), lambda: (name_of(services, user.id), True)
            )
            if int(text) < least:
                wrong.append((int(text), least))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(1, 80):
        rename(services, user.id, str(number))
        told[0] = number
    over.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_kept_answers_read_no_table_that_says_nothing_of_its_changes(site: Site) -> None:
    film, version, job = site.film(site.user("editor"), policy=Policy.PUBLIC)
    site.publish(version, job)
    admin = site.as_("admin")
    with db.reading(site.services) as s:
        name = playback_ids.of(s, [film.id])[film.id][0].id
    told = {table.name for table in db.Base.metadata.tables.values() if "cache" in table.info}
    for where in (
        "/api/v1/assets",
        "/api/v1/assets?q=fi",
        f"/api/v1/assets/{film.id}",
        f"/watch/{name}/state",
        "/",
        "/api/v1/jobs",
    ):
        site.services.kv_sync.flushall()
        with statements("SELECT") as found:
            assert admin.get(f"{site.base}{where}").status_code == 200
        tables = {table for one in found for table in re.findall(r"(?:FROM|JOIN) (\w+)", one)}
        assert tables - {"title_words", "latest"} <= told, where  # words change with the film


def test_how_often_it_helps_is_told(site: Site) -> None:
    admin = site.as_("admin")
    for _ in range(60):
        admin.get("/assets")
    counts = {one["name"]: one for one in admin.get("/cache").json()["data"]}
    assert counts["films"]["hit_ratio"] > 0.9 and site.as_("member").get("/cache").status_code == 403


def asking(kept: Cache) -> Callable[[str], str]:
    return lambda text: kept.text("t", "k", cache.listed("g"), lambda: (text, True))[0]


def person(services: Services) -> User:
    with db.session(services) as s:
        return users.create(
            s, services.config.accounts, email="p@example.org", name="old", role="member", password="long enough"
        )


def rename(services: Services, user_id: str, name: str) -> None:
    with db.session(services) as s:
        s.get_one(User, user_id).name = name


def name_of(services: Services, user_id: str) -> str:
    with db.reading(services) as s:
        return s.get_one(User, user_id).name


@contextmanager
def statements(*kinds: str) -> Iterator[list[str]]:
    """Those of requests to any server of this process."""
    found: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith(kinds) and "request_id" in structlog.contextvars.get_contextvars():
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)
