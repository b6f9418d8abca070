"""Roles that are built in and roles that are made: what they allow, and that nobody hands out more than they have."""

import httpx2
import pytest

from streamer import db
from streamer.accounts import apikeys, rolebook, users
from streamer.accounts.roles import MEANING, PERMISSIONS, Permission, Role
from tests.streamer.accounts.conftest import PASSWORD, Site

HIRING = ["any:users:read", "any:users:write", "site:roles:read", "site:roles:write", "any:assets:read"]


def make_role(browser: httpx2.Client, name: str, *permissions: str) -> httpx2.Response:
    return browser.post("/api/v1/roles", json={"name": name, "permissions": list(permissions)})


def person(site: Site, name: str, role: str) -> httpx2.Client:
    """Somebody new with that role, signed in."""
    email = f"{name}@example.org"
    with db.session(site.services) as s:
        users.create(s, site.services.config.accounts, email=email, name=name, role=role, password=PASSWORD)
    return site.signed_in(email)


def user_id(site: Site, name: str) -> str:
    with db.reading(site.services) as s:
        return users.find(s, f"{name}@example.org").id


def test_every_permission_names_its_scope_and_says_what_it_means() -> None:
    assert all(one.split(":")[0] in ("any", "own", "site") and one.count(":") == 2 for one in Permission)
    assert MEANING.keys() == set(Permission) and PERMISSIONS.keys() == set(Role)


def test_names_from_before_there_were_scopes_are_understood() -> None:
    assert Permission("users:read") is Permission.USERS_READ
    with pytest.raises(ValueError):
        Permission("users")


def test_an_admin_makes_a_role_gives_it_and_what_it_allows_follows_its_changes(site: Site) -> None:
    ada = site.signed_in()
    made = make_role(ada, "night-shift", "any:jobs:read", "site:events:read")
    assert (made.status_code, made.json()["built_in"], made.json()["people"]) == (201, False, 0)
    assert ada.patch(f"/api/v1/users/{user_id(site, 'vic')}", json={"role": "night-shift"}).status_code == 200
    vic = site.signed_in("vic@example.org")
    assert vic.get("/api/v1/me").json()["permissions"] == ["any:jobs:read", "site:events:read"]
    assert vic.get("/api/v1/events").status_code == 200
    ada.patch("/api/v1/roles/night-shift", json={"permissions": ["any:jobs:read"]})
    assert vic.get("/api/v1/events").status_code == 403, "from the next request on"
    assert ada.get("/api/v1/roles/night-shift").json()["people"] == 1


def test_all_roles_are_listed_built_in_ones_first(site: Site) -> None:
    ada = site.signed_in()
    make_role(ada, "archivist", "any:assets:list")
    names = [role["name"] for role in ada.get("/api/v1/roles").json()["data"]]
    assert names == [*Role, "archivist"]


def test_a_role_in_use_can_not_be_deleted_and_a_built_in_one_never_changes(site: Site) -> None:
    ada = site.signed_in()
    make_role(ada, "night-shift", "any:jobs:read")
    person(site, "nora", "night-shift")
    refused = ada.delete("/api/v1/roles/night-shift")
    assert (refused.status_code, refused.json()["code"]) == (409, "role_in_use")
    ada.patch(f"/api/v1/users/{user_id(site, 'nora')}", json={"role": "viewer"})
    assert ada.delete("/api/v1/roles/night-shift").status_code == 204
    assert ada.get("/api/v1/roles/night-shift").status_code == 404
    for answer in (
        ada.patch("/api/v1/roles/viewer", json={"permissions": []}),
        ada.delete("/api/v1/roles/viewer"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "role_built_in")


@pytest.mark.parametrize(
    ("name", "permissions", "status", "pointer"),
    [
        ("Chef", [], 400, "/name"),
        ("x", [], 400, "/name"),
        ("josé", [], 400, "/name"),
        ("a" * 32, [], 400, "/name"),
        ("chef", ["moon:land"], 400, "/permissions"),
        ("editor", [], 409, None),
    ],
)
def test_what_is_wrong_with_a_role_is_said(
    site: Site, name: str, permissions: list[str], status: int, pointer: str | None
) -> None:
    answer = make_role(site.signed_in(), name, *permissions)
    assert answer.status_code == status
    assert [error["pointer"] for error in answer.json().get("errors", [])] == ([pointer] if pointer else [])


def test_nobody_gives_more_than_they_have(site: Site) -> None:
    make_role(site.signed_in(), "hiring", *HIRING)
    hank = person(site, "hank", "hiring")
    new = {"email": "new@example.org", "name": "New", "password": PASSWORD}
    vic = user_id(site, "vic")
    for answer in (
        make_role(hank, "strong", "any:assets:delete"),
        hank.post("/api/v1/users", json={**new, "role": "admin"}),
        hank.patch(f"/api/v1/users/{vic}", json={"role": "editor"}),
        hank.patch(f"/api/v1/users/{user_id(site, 'hank')}", json={"role": "admin"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "more_than_own"), answer.text
    assert make_role(hank, "weak", "any:assets:read").status_code == 201
    assert hank.post("/api/v1/users", json={**new, "role": "weak"}).status_code == 201
    assert hank.patch(f"/api/v1/users/{vic}", json={"role": "weak"}).status_code == 200


def test_nobody_changes_those_who_may_do_more_nor_their_roles(site: Site) -> None:
    ada = site.signed_in()
    make_role(ada, "hiring", *HIRING)
    make_role(ada, "strong", *HIRING, "any:assets:delete")
    hank = person(site, "hank", "hiring")
    for answer in (
        hank.patch(f"/api/v1/users/{user_id(site, 'ada')}", json={"disabled": True}),
        hank.patch(f"/api/v1/users/{user_id(site, 'eve')}", json={"role": "viewer"}),
        hank.patch("/api/v1/roles/strong", json={"permissions": []}),
        hank.delete("/api/v1/roles/strong"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "more_than_own"), answer.text


def test_a_key_loses_what_its_owner_loses(site: Site) -> None:
    eve = site.signed_in("eve@example.org")
    made = eve.post("/api/v1/api-keys", json={"name": "k", "scopes": ["jobs:read", "any:assets:read"]}).json()
    assert made["scopes"] == ["any:assets:read", "any:jobs:read"]
    key = site.bearer(made["secret"])
    assert key.get("/api/v1/workers").status_code == 200
    site.signed_in().patch(f"/api/v1/users/{user_id(site, 'eve')}", json={"role": "viewer"})
    assert key.get("/api/v1/workers").status_code == 403
    assert key.get("/api/v1/me").json()["permissions"] == ["any:assets:read"]


def test_a_key_with_narrow_scopes_gives_no_more_than_those(site: Site) -> None:
    ada = site.signed_in()
    secret = ada.post("/api/v1/api-keys", json={"name": "k", "scopes": ["any:users:write"]}).json()["secret"]
    body = {"email": "new@example.org", "name": "New", "role": "admin", "password": PASSWORD}
    assert site.bearer(secret).post("/api/v1/users", json=body).json()["code"] == "more_than_own"


def test_the_last_admin_stays_one(site: Site) -> None:
    ada = site.signed_in()
    answer = ada.patch(f"/api/v1/users/{user_id(site, 'ada')}", json={"role": "editor"})
    assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")


def test_nobody_gives_themselves_another_role_or_shuts_themselves_out(site: Site) -> None:
    ada, amy, own = site.signed_in(), person(site, "amy", "admin"), f"/api/v1/users/{user_id(site, 'ada')}"
    key = site.bearer(ada.post("/api/v1/api-keys", json={"name": "k"}).json()["secret"])
    for client in (ada, key):
        for change in ({"role": "editor"}, {"disabled": True}):
            refused = client.patch(own, json=change)
            assert (refused.status_code, refused.json()["code"]) == (409, "own_account"), refused.text
            assert "Another administrator" in refused.json()["detail"]
    assert ada.patch(own, json={"role": "admin", "disabled": False}).status_code == 200, "that changes nothing"
    form = {"csrf_token": ada.headers["X-CSRF-Token"], "role": "viewer"}
    page = ada.post(f"/admin/people/{user_id(site, 'ada')}/role", data=form)
    assert page.status_code == 409 and "This is your own account." in page.text
    assert '/role"' not in ada.get(f"/admin/people/{user_id(site, 'ada')}").text, "nor does the page offer it"
    assert amy.patch(own, json={"role": "editor"}).status_code == 200


def test_a_role_that_is_no_more_allows_nothing(site: Site) -> None:
    with db.session(site.services) as s:
        users.find(s, "vic@example.org").role = "gone"
        assert rolebook.permissions(s, "gone") == frozenset()
        _, secret = apikeys.issue(s, users.find(s, "vic@example.org"), name="k")
    assert site.bearer(secret).get("/api/v1/me").json()["permissions"] == []
