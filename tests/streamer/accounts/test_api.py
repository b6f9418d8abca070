"""Users and API keys over JSON: who may do what, and what a key can never do."""

import httpx2
import pytest

from streamer import db
from streamer.accounts import users
from streamer.accounts.tables import ApiKey
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.web import NO_TLS

NEW = {"email": "new@example.org", "name": "New", "role": "viewer", "password": PASSWORD}


def make_key(browser: httpx2.Client, **body: object) -> dict[str, str]:
    answer = browser.post("/api/v1/api-keys", json={"name": "test", **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


def test_an_admin_adds_people(site: Site) -> None:
    ada = site.signed_in()
    answer = ada.post("/api/v1/users", json={**NEW, "email": "New@Example.ORG"})
    assert answer.status_code == 201
    assert answer.json()["email"] == "new@example.org" and "password_hash" not in answer.text
    assert site.signed_in("new@example.org").get("/api/v1/me").json()["role"] == "viewer"


@pytest.mark.parametrize("email", ["eve@example.org", "vic@example.org"])
def test_only_an_admin_sees_or_adds_people(site: Site, email: str) -> None:
    browser = site.signed_in(email)
    for answer in (browser.get("/api/v1/users"), browser.post("/api/v1/users", json=NEW)):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_an_address_can_be_taken_once(site: Site) -> None:
    answer = site.signed_in().post("/api/v1/users", json={**NEW, "email": "EVE@example.org"})
    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"role": "emperor"}, "/role"),
        ({"email": "nobody"}, "/email"),
        ({"name": "  "}, "/name"),
        ({"password": "short"}, "/password"),
        ({"role": None}, "/role"),
        ({"surprise": 1}, "/surprise"),
    ],
)
def test_what_is_wrong_with_a_body_is_pointed_at(site: Site, change: dict[str, object], pointer: str) -> None:
    answer = site.signed_in().post("/api/v1/users", json={**NEW, **change})
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_body_that_is_not_json_is_a_bad_request(site: Site) -> None:
    answer = site.signed_in().post("/api/v1/users", content=b"\xff{")
    assert answer.status_code == 400


def test_the_last_admin_can_not_be_disabled(site: Site) -> None:
    ada = site.signed_in()
    ada_id = ada.get("/api/v1/me").json()["id"]
    answer = ada.patch(f"/api/v1/users/{ada_id}", json={"disabled": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")


def test_an_id_in_another_alphabet_is_nobodys(site: Site) -> None:
    ada = site.signed_in()
    assert ada.patch("/api/v1/users/José", json={"disabled": True}).status_code == 404
    assert ada.delete("/api/v1/api-keys/José").status_code == 404


def test_a_name_in_another_alphabet_finds_its_owner(site: Site) -> None:
    assert site.signed_in().post("/api/v1/users", json={**NEW, "name": "José"}).status_code == 201
    with db.reading(site.services) as s:
        assert users.find(s, "José").email == "new@example.org"


def test_people_come_in_pages_newest_first(site: Site) -> None:
    ada = site.signed_in()
    first = ada.get("/api/v1/users?limit=2").json()
    second = ada.get("/api/v1/users", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    names = [user["name"] for user in first["data"] + second["data"]]
    assert sorted(names) == ["Ada", "Eve", "Vic"] and second["next_cursor"] is None
    ids = [user["id"] for user in first["data"] + second["data"]]
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1e2", "", "0001009999"])
def test_a_page_has_a_sane_size(site: Site, limit: str) -> None:
    assert site.signed_in().get("/api/v1/users", params={"limit": limit}).status_code == 400


def test_a_key_opens_the_api_without_any_other_proof(site: Site) -> None:
    key = make_key(site.signed_in())
    answer = site.bearer(key["secret"]).post("/api/v1/users", json=NEW)
    assert answer.status_code == 201, answer.text


def test_a_key_is_shown_once_and_not_kept(site: Site) -> None:
    browser = site.signed_in()
    key = make_key(browser)
    assert "secret" not in browser.get("/api/v1/api-keys").json()["data"][0]
    with db.reading(site.services) as s:
        row = s.get(ApiKey, key["id"])
    assert row is not None and key["secret"] not in repr(row.__dict__)


def test_scopes_narrow_a_key(site: Site) -> None:
    key = make_key(site.signed_in(), scopes=["users:read"])
    client = site.bearer(key["secret"])
    assert client.get("/api/v1/users").status_code == 200
    assert client.post("/api/v1/users", json=NEW).status_code == 403


def test_a_key_with_scopes_that_its_owner_lacks_is_not_made_and_told_which(site: Site) -> None:
    vic = site.signed_in("vic@example.org")
    refused = vic.post("/api/v1/api-keys", json={"name": "k", "scopes": ["users:read", "assets:read"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "more_than_own")
    assert "“See people” (any:users:read)" in refused.json()["detail"]
    assert refused.json()["errors"] == [{"pointer": "/scopes", "detail": "has any:users:read"}]
    assert vic.get("/api/v1/api-keys").json()["data"] == []


def test_a_refusal_says_in_words_what_is_missing_and_who_can_help(site: Site) -> None:
    vic = site.signed_in("vic@example.org")
    assert vic.get("/api/v1/users").json()["detail"] == (
        "This needs the permission “See people” (any:users:read), which the role viewer does not have."
        " An administrator can give you a role that has it."
    )
    narrow = site.bearer(make_key(site.signed_in(), scopes=["assets:read"])["secret"])
    assert "which this API key does not have. Use one with this scope" in narrow.get("/api/v1/users").json()["detail"]


def test_what_is_wrong_with_a_query_is_pointed_at_with_what_was_expected(site: Site) -> None:
    ada = site.signed_in()
    for query, pointer, expected in (
        ("users?limit=many", "/limit", "must be a whole number from 1 to 200, not 'many'"),
        ("users?cursor=next", "/cursor", "must be a next_cursor from the page before, not 'next'"),
        ("jobs?state=odd", "/state", "must be one of queued, running, succeeded, failed, cancelled, not 'odd'"),
        ("audit?since=now", "/since", "must be a time with its zone, such as 2026-11-23T08:00:00Z, not 'now'"),
    ):
        answer = ada.get(f"/api/v1/{query}")
        assert (answer.status_code, answer.json()["errors"]) == (400, [{"pointer": pointer, "detail": expected}])


def test_a_narrow_key_can_not_make_itself_a_wider_one(site: Site) -> None:
    client = site.bearer(make_key(site.signed_in(), scopes=["users:read"])["secret"])
    assert client.post("/api/v1/api-keys", json={"name": "wider"}).status_code == 403
    assert client.get("/api/v1/api-keys").status_code == 403


def test_an_unknown_scope_is_refused(site: Site) -> None:
    answer = site.signed_in().post("/api/v1/api-keys", json={"name": "x", "scopes": ["moon:land"]})
    assert answer.status_code == 400 and "moon:land" in answer.json()["detail"]


def test_a_revoked_key_is_dead_at_once(site: Site) -> None:
    browser = site.signed_in("eve@example.org")
    key = make_key(browser)
    client = site.bearer(key["secret"])
    assert client.get("/api/v1/me").status_code == 200
    assert browser.delete(f"/api/v1/api-keys/{key['id']}").status_code == 204
    assert client.get("/api/v1/me").json()["code"] == "bad_key"


def test_nobody_revokes_the_key_of_another(site: Site) -> None:
    key = make_key(site.signed_in("eve@example.org"))
    assert site.signed_in("vic@example.org").delete(f"/api/v1/api-keys/{key['id']}").status_code == 404
    assert site.bearer(key["secret"]).get("/api/v1/me").status_code == 200


def test_the_keys_of_a_disabled_account_are_dead(site: Site) -> None:
    eve = site.signed_in("eve@example.org")
    client = site.bearer(make_key(eve)["secret"])
    eve_id = eve.get("/api/v1/me").json()["id"]
    site.signed_in().patch(f"/api/v1/users/{eve_id}", json={"disabled": True})
    assert client.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("secret", ["sk_wrong", "\xff", "x" * 8000])
def test_a_wrong_key_is_refused_and_never_taken_for_nobody(site: Site, secret: str) -> None:
    headers = {b"Authorization": b"Bearer " + secret.encode("latin1")}
    answer = httpx2.get(f"{site.url}/api/v1/me", headers=headers, verify=NO_TLS)
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_key")


def test_the_use_of_a_key_is_noted(site: Site) -> None:
    browser = site.signed_in()
    site.bearer(make_key(browser)["secret"]).get("/api/v1/me")
    assert browser.get("/api/v1/api-keys").json()["data"][0]["last_used_at"]
