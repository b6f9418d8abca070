"""All that is held of a person: handed out to them, and erased so that nothing of it is found again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from streamer import db
from streamer.accounts import audit_chain, users
from streamer.accounts.tables import LoginSession, User
from streamer.catalog.tables import Asset, Version
from streamer.config import Config
from streamer.ingest.tables import Upload
from streamer.jobs.tables import Job
from streamer.membership import persons
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.membership.postbox import letters, policy_of
from tests.streamer.stack import empty_tables

VIC = "vic@example.org"


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLite, and MariaDB where a test says so: where rows are erased."""
    return empty_tables(request, getattr(request, "param", "sqlite"), tmp_path)


@pytest.fixture
def config(config: Config) -> Config:
    return config.model_copy(update={"ingest": config.ingest.model_copy(update={"min_free_bytes": 0, "glance": False})})


@pytest.fixture
def vic(site: Site) -> Iterator[httpx2.Client]:
    """Vic, a member now, who sent a film, has an upload under way, a key, and was invited under that address once."""
    with policy_of(site, "invitation"):
        site.signed_in().patch(f"/api/v1/users/{id_of(site, VIC)}", json={"role": "member"})
        vic = site.signed_in(VIC)
        key = vic.post("/api/v1/api-keys", json={"name": "Vic's robot"}).json()
        sent = vic.post(
            "/api/v1/uploads", params={"filename": "vics-wedding.mp4", "title": "Vic's wedding"}, content=b"film"
        )
        assert sent.status_code == 201, sent.text
        vic.post(
            "/api/v1/tus",
            headers={"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Metadata": "filename dmljLm1wNA=="},
        )
        vic.post("/api/v1/me/verification")
        yield vic
        assert site.bearer(key["secret"]).get("/api/v1/me").status_code in (200, 401)


def id_of(site: Site, email: str) -> str:
    with db.reading(site.services) as s:
        return users.find(s, email).id


def everything(site: Site) -> str:
    """Every column of every row, except the bytes of films."""
    with db.reading(site.services) as s:
        rows = [dict(row._mapping) for table in db.Base.metadata.sorted_tables for row in s.execute(select(table))]
    return json.dumps(rows, default=str)


def gone(answer: httpx2.Response) -> bool:
    return answer.status_code in (204, 303)


def test_the_export_is_one_document_of_all_that_is_held_and_of_nobody_else(site: Site, vic: httpx2.Client) -> None:
    answer = vic.get("/api/v1/me/export")
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    held: dict[str, Any] = answer.json()
    assert held["account"][0]["email"] == VIC and held["sessions"][0]["address"] == "127.0.0.1"
    assert held["api_keys"][0]["name"] == "Vic's robot" and "secret" not in answer.text
    assert [film["title"] for film in held["films"]] == ["Vic's wedding"]
    assert held["films"][0]["versions"][0]["file"] == "vics-wedding.mp4"
    assert {row["filename"] for row in held["uploads"]} == {"vics-wedding.mp4", "vic.mp4"}
    actions = [entry["action"] for entry in held["audit"]]
    assert {"user.create", "user.role", "session.create", "asset.create", "user.export"} >= set(actions) - {
        "api_key.create", "playback_id.create", "upload.create", "upload.end",
    }  # fmt: skip
    role = next(entry for entry in held["audit"] if entry["action"] == "user.role")
    assert role["address"] is None, "where the administrator was is not Vic's to know"
    assert "ada@example.org" not in answer.text and "eve@example.org" not in answer.text


def test_administrators_may_export_and_others_may_not(site: Site, vic: httpx2.Client) -> None:
    path = f"/api/v1/users/{id_of(site, VIC)}/export"
    assert site.signed_in().get(path).json()["account"][0]["email"] == VIC
    assert site.signed_in("eve@example.org").get(path).status_code == 403
    key = vic.post("/api/v1/api-keys", json={"name": "k"}).json()["secret"]
    assert site.bearer(key).get("/api/v1/me/export").json()["code"] == "session_needed"


@pytest.mark.parametrize("database_url", ["sqlite", "mariadb"], indirect=True)
def test_after_erasing_nothing_of_the_person_is_anywhere(site: Site, vic: httpx2.Client) -> None:
    vic_id, cookie = id_of(site, VIC), vic.cookies["session"]
    letters(site.services)
    assert vic.request("DELETE", "/api/v1/me", json={"password": "wrong"}).json()["code"] == "wrong_password"
    answer = vic.request("DELETE", "/api/v1/me", json={"password": PASSWORD})
    assert answer.status_code == 204, answer.text
    goodbye = letters(site.services)[-1]
    assert goodbye["To"] == VIC and "erased" in goodbye["Subject"]
    text = everything(site)
    events = text.count("Vic's wedding")
    with db.reading(site.services) as s:
        told = sum(
            "Vic's wedding" in json.dumps(row)
            for row in s.execute(select(db.Base.metadata.tables["events"].c.data)).scalars()
        )
        assert events == told, "events tell what happened until their time is over, and nothing else does"
        row = s.get_one(User, vic_id)
        assert (
            row.erased_at
            and row.disabled_at
            and s.scalars(select(LoginSession).where(LoginSession.user_id == vic_id)).all() == []
        )
        assert all(film.deleted_at for film in s.scalars(select(Asset)))
        assert {version.source_name for version in s.scalars(select(Version))} == {"erased"}
        assert {upload.state for upload in s.scalars(select(Upload))} == {"received", "failed"}
    for word in (VIC, "Vic's robot", '"Vic"'):
        assert word not in text
    assert site.browser(Cookie=f"session={cookie}").get("/api/v1/me").status_code == 401
    assert site.browser().post("/api/v1/session", json={"email": VIC, "password": PASSWORD}).status_code == 401
    assert audit_chain.verify(site.services)
    ada = site.signed_in()
    assert vic_id not in ada.get("/api/v1/users").text and ada.get(f"/admin/people/{vic_id}").status_code == 404
    assert ada.patch(f"/api/v1/users/{vic_id}", json={"disabled": False}).status_code == 404
    again = {"email": VIC, "name": "Vic", "role": "viewer", "password": PASSWORD}
    assert ada.post("/api/v1/users", json=again).status_code == 201, "the address is free again"


def test_an_administrator_hands_the_films_over(site: Site, vic: httpx2.Client) -> None:
    ada, vic_id, eve_id = site.signed_in(), id_of(site, VIC), id_of(site, "eve@example.org")
    (film,) = vic.get("/api/v1/assets").json()["data"]
    assert ada.delete(f"/api/v1/users/{vic_id}", params={"films_to": vic_id}).json()["code"] == "bad_heir"
    assert ada.delete(f"/api/v1/users/{vic_id}", params={"films_to": eve_id}).status_code == 204
    (owned,) = site.signed_in("eve@example.org").get("/api/v1/assets").json()["data"]
    assert (owned["id"], owned["owner_id"], owned["title"]) == (film["id"], eve_id, "Vic's wedding")
    with db.reading(site.services) as s:
        assert {job.owner_id for job in s.scalars(select(Job).where(Job.kind == "transcode"))} == {eve_id}
    (told,) = ada.get("/api/v1/audit", params={"action": "user.erase"}).json()["data"]
    assert told["after"]["films_to"] == eve_id and told["address"] == "127.0.0.1"


def test_whom_nobody_may_erase(site: Site) -> None:
    ada, eve = site.signed_in(), site.signed_in("eve@example.org")
    last = ada.request("DELETE", "/api/v1/me", json={"password": PASSWORD})
    assert (last.status_code, last.json()["code"]) == (409, "last_admin")
    own = ada.delete(f"/api/v1/users/{id_of(site, 'ada@example.org')}")
    assert (own.status_code, own.json()["code"]) == (409, "own_account")
    assert eve.delete(f"/api/v1/users/{id_of(site, VIC)}").status_code == 403
    assert site.signed_in(VIC).get("/api/v1/me").status_code == 200


def test_every_column_that_names_a_person_is_some_rooms_to_export_and_erase() -> None:
    """A new table that points to people fails here until a room's holdings know it."""
    known = {column for room in persons.rooms() for column in room.COLUMNS}
    impersonal = {
        "audit_entries.subject_id",
        "events.subject_id",
        "leases.name",
        "pauses.name",
        "plans.name",
        "roles.name",
        "renditions.name",
    }
    telling = {
        "user_id",
        "owner_id",
        "created_by",
        "invited_by",
        "person_id",
        "subject_id",
        "email",
        "name",
        "filename",
        "title",
        "address",
    }
    found = {
        f"{table.name}.{column.name}"
        for table in db.Base.metadata.sorted_tables
        for column in table.columns
        if column.name in telling or any(key.target_fullname == "users.id" for key in column.foreign_keys)
    }
    assert found - impersonal == known


def test_the_pages_do_both(site: Site, vic: httpx2.Client) -> None:
    page = vic.get("/admin/account").text
    assert 'href="/api/v1/me/export"' in page
    form = {"csrf_token": vic.headers["X-CSRF-Token"], "password": "wrong"}
    assert "The password is wrong" in vic.post("/admin/account/erase", data=form).text
    done = vic.post("/admin/account/erase", data={**form, "password": PASSWORD})
    assert gone(done) and done.headers["location"].startswith("/admin/sign-in?done=erased")
    ada, eve_id = site.signed_in(), id_of(site, "eve@example.org")
    form = {"csrf_token": ada.headers["X-CSRF-Token"], "films_to": ""}
    assert f'href="/api/v1/users/{eve_id}/export"' in ada.get(f"/admin/people/{eve_id}").text
    unsure = ada.post(f"/admin/people/{eve_id}/erase", data=form)
    assert unsure.status_code == 400 and "e-mail address" in unsure.text
    assert gone(ada.post(f"/admin/people/{eve_id}/erase", data={**form, "email": "eve@example.org"}))
    assert "eve@example.org" not in ada.get("/admin/people").text
