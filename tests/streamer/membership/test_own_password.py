"""Changing the password one has: who may, what ends with the old one, and what comes instead."""

from pathlib import Path

import pytest

from streamer.accounts import audit_chain
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.membership.postbox import letters
from tests.streamer.membership.test_recovery import ask, can_sign_in, reset
from tests.streamer.stack import empty_tables

EVE, NEW = "eve@example.org", "an entirely new one"


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One is enough: what is written here is what other tests write on both."""
    return empty_tables(request, "sqlite", tmp_path)


def test_a_changed_password_ends_every_session_but_a_new_one_here_and_is_told(site: Site) -> None:
    here, elsewhere = site.signed_in(EVE), site.signed_in(EVE)
    reset_link, stolen = ask(site, EVE), here.cookies["session"]
    answer = here.post("/api/v1/me/password", json={"password": PASSWORD, "new_password": NEW})
    assert answer.status_code == 200 and answer.json()["user"]["email"] == EVE
    assert here.cookies["session"] != stolen, "the session's id changes"
    here.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    assert here.post("/api/v1/me/verification").status_code == 202
    assert elsewhere.get("/api/v1/me").status_code == 401
    assert site.browser(Cookie=f"session={stolen}").get("/api/v1/me").status_code == 401
    assert can_sign_in(site, EVE, NEW) and not can_sign_in(site, EVE, PASSWORD)
    assert reset(site, reset_link, PASSWORD) == 410, "links for the old one are closed"
    assert any(
        letter["To"] == EVE and "password of your account" in letter.get_content() for letter in letters(site.services)
    )
    assert [entry.action for entry in audit_chain.walk(site.services)].count("user.password") == 1


def test_it_takes_the_old_password_a_session_and_a_new_password(site: Site) -> None:
    eve = site.signed_in(EVE)
    key = site.bearer(eve.post("/api/v1/api-keys", json={"name": "k"}).json()["secret"])
    refusals = [
        (eve, {"password": "wrong", "new_password": NEW}, 403, "wrong_password"),
        (key, {"password": PASSWORD, "new_password": NEW}, 403, "session_needed"),
        (site.browser(), {"password": PASSWORD, "new_password": NEW}, 401, "unauthenticated"),
        (eve, {"password": PASSWORD, "new_password": "short"}, 400, "invalid"),
        (eve, {"password": PASSWORD, "new_password": PASSWORD}, 400, "invalid"),
    ]
    for client, body, status, code in refusals:
        answer = client.post("/api/v1/me/password", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["errors"][0]["pointer"] == "/new_password"
    assert can_sign_in(site, EVE, PASSWORD)


def test_the_account_page_does_the_same(site: Site) -> None:
    eve = site.signed_in(EVE)
    form = {"csrf_token": eve.headers["X-CSRF-Token"], "password": PASSWORD}
    short = eve.post("/admin/account/password", data={**form, "new_password": "short"})
    assert short.status_code == 400 and "This has 5 characters" in short.text
    done = eve.post("/admin/account/password", data={**form, "new_password": NEW}, follow_redirects=True)
    assert done.status_code == 200 and "Your password is changed" in done.text
    assert can_sign_in(site, EVE, NEW)
