"""Signing in and out of a running server, and every way a foreign page could try to use somebody's session."""

from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select, update

from streamer import db
from streamer.accounts.tables import LoginSession, User
from streamer.app import create_app
from streamer.config import Redis
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.running import running
from tests.web import NO_TLS

ADA = {"email": "ada@example.org", "password": PASSWORD}
EVE = {"email": "eve@example.org", "name": "E", "role": "editor", "password": PASSWORD}


def test_a_login_is_a_cookie_that_scripts_can_not_read(site: Site) -> None:
    answer = site.browser().post("/api/v1/session", json=ADA)
    cookie = answer.headers["set-cookie"].lower()
    assert answer.status_code == 201 and answer.json()["user"]["email"] == "ada@example.org"
    assert cookie.startswith("session=") and "httponly" in cookie and "samesite=lax" in cookie
    assert "path=/" in cookie and "domain" not in cookie


def test_the_address_is_not_case_sensitive(site: Site) -> None:
    answer = site.browser().post("/api/v1/session", json={**ADA, "email": " ADA@Example.org "})
    assert answer.status_code == 201


def test_whoever_is_signed_in_is_known(site: Site) -> None:
    me = site.signed_in("eve@example.org").get("/api/v1/me").json()
    assert (me["name"], me["role"]) == ("Eve", "editor")
    assert "own:uploads:create" in me["permissions"] and "any:users:read" not in me["permissions"]


def test_nobody_is_signed_in_without_a_cookie(site: Site) -> None:
    answer = site.browser().get("/api/v1/me")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org", ""])
def test_a_wrong_password_and_an_unknown_account_get_the_same_answer(site: Site, email: str) -> None:
    answer = site.browser().post("/api/v1/session", json={"email": email, "password": "wrong password"})
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_credentials")
    assert "set-cookie" not in answer.headers


def test_each_login_gets_a_new_session_and_ends_the_one_it_replaces(site: Site) -> None:
    browser = site.signed_in()
    before = browser.cookies["session"]
    browser.post("/api/v1/session", json=ADA)
    assert browser.cookies["session"] != before
    assert site.browser(Cookie=f"session={before}").get("/api/v1/me").status_code == 401


def test_a_session_chosen_by_somebody_else_is_never_taken_over(site: Site) -> None:
    browser = site.browser()
    browser.cookies.set("session", "fixed-by-an-attacker")
    answer = browser.post("/api/v1/session", json=ADA)
    assert "fixed-by-an-attacker" not in answer.headers["set-cookie"]


def test_after_signing_out_the_old_cookie_is_worthless(site: Site) -> None:
    browser = site.signed_in()
    cookie = browser.cookies["session"]
    answer = browser.delete("/api/v1/session")
    assert answer.status_code == 204 and "session" not in browser.cookies
    assert site.browser(Cookie=f"session={cookie}").get("/api/v1/me").status_code == 401


def test_the_secret_of_a_session_is_nowhere_in_the_database_or_redis(site: Site) -> None:
    secret = site.signed_in().cookies["session"]
    with db.reading(site.services) as s:
        row = s.scalars(select(LoginSession)).one()
    assert secret not in repr(row.__dict__)
    kept = site.services.kv_sync
    assert all(secret not in key and secret not in (kept.get(key) or "") for key in kept.keys("login:*"))


def test_a_redis_that_lost_everything_signs_nobody_out(site: Site) -> None:
    browser = site.signed_in()
    site.services.kv_sync.flushall()
    assert browser.get("/api/v1/me").status_code == 200


def test_a_session_ends_after_its_longest_time(site: Site) -> None:
    browser = site.signed_in()
    with db.session(site.services) as s:
        s.execute(update(LoginSession).values(expires_at=db.now() - timedelta(seconds=1)))
    site.services.kv_sync.flushall()
    assert browser.get("/api/v1/me").status_code == 401


def test_a_session_ends_when_it_is_idle_for_too_long(site: Site) -> None:
    browser = site.signed_in()
    idle = site.services.config.accounts.session_idle_s
    with db.session(site.services) as s:
        s.execute(update(LoginSession).values(last_seen_at=db.now() - timedelta(seconds=idle + 1)))
    site.services.kv_sync.flushall()
    assert browser.get("/api/v1/me").status_code == 401


def test_disabling_an_account_ends_its_sessions_and_its_logins(site: Site) -> None:
    eve, ada = site.signed_in("eve@example.org"), site.signed_in()
    eve_id = eve.get("/api/v1/me").json()["id"]
    assert ada.patch(f"/api/v1/users/{eve_id}", json={"disabled": True}).json()["disabled_at"]
    assert eve.get("/api/v1/me").status_code == 401
    again = site.browser().post("/api/v1/session", json={"email": "eve@example.org", "password": PASSWORD})
    assert (again.status_code, again.json()["code"]) == (401, "wrong_credentials")


def test_a_change_needs_the_token_of_the_session(site: Site) -> None:
    browser = site.signed_in()
    for token in ("", "wrong", site.signed_in("eve@example.org").headers["X-CSRF-Token"], "é".encode()):
        answer = browser.post("/api/v1/users", json=EVE, headers={"X-CSRF-Token": token})
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf"), token


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "{own}"},
        {"Sec-Fetch-Site": None, "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": None, "Origin": "null"},
        {"Sec-Fetch-Site": None, "Origin": "{own}.evil.example"},
        {"Sec-Fetch-Site": None},
    ],
)
def test_a_change_from_another_site_is_refused_even_with_the_token(site: Site, headers: dict[str, str | None]) -> None:
    browser = site.signed_in()
    del browser.headers["Sec-Fetch-Site"]
    sent = {name: value.format(own=site.url) for name, value in headers.items() if value is not None}
    answer = browser.post("/api/v1/users", json={**EVE, "email": "new@example.org"}, headers=sent)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


def test_an_old_browser_is_believed_by_its_origin(site: Site) -> None:
    browser = site.signed_in()
    del browser.headers["Sec-Fetch-Site"]
    answer = browser.post("/api/v1/users", json={**EVE, "email": "new@example.org"}, headers={"Origin": site.url})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_another_site_can_not_sign_a_visitor_in(site: Site, headers: dict[str, str]) -> None:
    browser = site.browser()
    del browser.headers["Sec-Fetch-Site"]
    answer = browser.post("/api/v1/session", json=ADA, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


def test_a_form_proves_itself_by_its_field(site: Site) -> None:
    browser = site.signed_in()
    token = browser.headers.pop("X-CSRF-Token")
    form = {"email": "form@example.org", "name": "F", "role": "viewer", "password": PASSWORD}
    assert browser.post("/admin/people", data={**form, "csrf_token": "wrong"}).status_code == 403
    assert browser.post("/admin/people", data={**form, "csrf_token": token}).status_code == 303
    with db.reading(site.services) as s:
        assert s.scalars(select(User).where(User.email == "form@example.org")).one().role == "viewer"


def test_reading_needs_no_token(site: Site) -> None:
    browser = site.signed_in()
    del browser.headers["X-CSRF-Token"], browser.headers["Sec-Fetch-Site"]
    assert browser.get("/api/v1/me").status_code == 200


def test_guessing_is_stopped_without_locking_the_owner_out(site: Site) -> None:
    guesser, tries = site.browser(), site.services.config.accounts.login_tries
    wrong = {**ADA, "password": "a guess at it"}
    answers = [guesser.post("/api/v1/session", json=wrong) for _ in range(tries + 1)]
    assert [answer.status_code for answer in answers] == [401] * tries + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= site.services.config.accounts.login_window_s
    assert guesser.post("/api/v1/session", json=ADA).status_code == 429, "even with the right password"
    assert guesser.post("/api/v1/session", json={**ADA, "email": "eve@example.org"}).status_code == 201


def test_the_right_password_starts_the_count_anew(site: Site) -> None:
    browser, tries = site.browser(), site.services.config.accounts.login_tries
    for _ in range(2):
        for _ in range(tries - 1):
            browser.post("/api/v1/session", json={**ADA, "password": "a guess at it"})
        assert browser.post("/api/v1/session", json=ADA).status_code == 201


def test_without_redis_sessions_go_on_but_nobody_signs_in(site: Site, tmp_path: Path) -> None:
    """Unlimited guessing would be worse than a short wait."""
    cookie = site.signed_in().cookies["session"]
    away = Redis(url=f"unix://{tmp_path}/nobody-listens-here")
    with running(create_app(site.services.config.model_copy(update={"redis": away}))) as url:
        assert httpx2.get(f"{url}/api/v1/me", headers={"Cookie": f"session={cookie}"}, verify=NO_TLS).status_code == 200
        answer = httpx2.post(f"{url}/api/v1/session", json=ADA, verify=NO_TLS)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]


def test_over_https_the_cookie_is_bound_to_the_host(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    server = site.services.config.server.model_copy(update={"public_url": "https://films.example.org"})
    monkeypatch.setitem(site.services.config.__dict__, "server", server)
    cookie = site.browser().post("/api/v1/session", json=ADA).headers["set-cookie"]
    assert cookie.startswith("__Host-session=") and "secure" in cookie.lower()
