"""Signing in with a second factor: no session before the code, no code twice, and a way back for who lost the app."""

import time

import httpx2
import pytest

from streamer import db
from streamer.accounts import second_factor, totp, users
from streamer.accounts.tables import RecoveryCode, SecondFactor
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.membership.postbox import policy_of

EVE = {"email": "eve@example.org", "password": PASSWORD}


class App:
    """What people have on their telephone. Each code is of a later half minute than the one before, as if time went by."""

    def __init__(self, secret: str) -> None:
        self.secret, self.step = secret, int(time.time()) // totp.STEP_S - 1

    def code(self, monkeypatch: pytest.MonkeyPatch) -> str:
        self.step += 1
        monkeypatch.setattr(second_factor.time, "time", lambda: self.step * totp.STEP_S)
        return totp.code(self.secret, self.step)


def set_up(browser: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> tuple[App, list[str]]:
    """An app that the account knows, and its recovery codes."""
    begun = browser.post("/api/v1/me/second-factor", json={"password": PASSWORD})
    assert begun.status_code == 201, begun.text
    app = App(begun.json()["secret"])
    done = browser.post("/api/v1/me/second-factor/confirm", json={"code": app.code(monkeypatch)})
    assert done.status_code == 200, done.text
    return app, done.json()["recovery_codes"]


def challenge(site: Site) -> str:
    answer = site.browser().post("/api/v1/session", json=EVE)
    assert (answer.status_code, answer.json()["code"]) == (401, "second_factor_needed")
    assert "set-cookie" not in answer.headers
    given: str = answer.json()["challenge"]
    return given


def answer(site: Site, given: str, code: str) -> httpx2.Response:
    return site.browser().post("/api/v1/session/second-factor", json={"challenge": given, "code": code})


def test_the_password_alone_opens_nothing_and_a_code_works_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = set_up(site.signed_in("eve@example.org"), monkeypatch)
    code = app.code(monkeypatch)
    first = answer(site, challenge(site), code)
    assert first.status_code == 201 and first.cookies["session"]
    again = answer(site, challenge(site), code)
    assert (again.status_code, again.json()["code"]) == (403, "wrong_code")
    assert answer(site, challenge(site), app.code(monkeypatch)).status_code == 201


def test_a_challenge_opens_one_session(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    app, codes = set_up(site.signed_in("eve@example.org"), monkeypatch)
    given = challenge(site)
    assert answer(site, given, app.code(monkeypatch)).status_code == 201
    again = answer(site, given, codes[0])
    assert (again.status_code, again.json()["code"]) == (401, "challenge_over")


def test_nothing_asks_for_codes_before_they_are_confirmed(site: Site) -> None:
    eve = site.signed_in("eve@example.org")
    wrong = eve.post("/api/v1/me/second-factor", json={"password": "wrong password"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    eve.post("/api/v1/me/second-factor", json={"password": PASSWORD})
    assert eve.post("/api/v1/me/second-factor/confirm", json={"code": "000000"}).json()["code"] == "wrong_code"
    assert site.browser().post("/api/v1/session", json=EVE).status_code == 201


def test_a_recovery_code_works_once_and_new_ones_end_the_old_ones(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    eve = site.signed_in("eve@example.org")
    app, codes = set_up(eve, monkeypatch)
    assert len(set(codes)) == 10
    assert answer(site, challenge(site), codes[0].upper()).status_code == 201
    assert answer(site, challenge(site), codes[0]).status_code == 403
    assert eve.get("/api/v1/me/second-factor").json() == {"on": True, "recovery_codes_left": 9}
    renewed = eve.post("/api/v1/me/second-factor/recovery-codes", json={"code": app.code(monkeypatch)}).json()
    assert answer(site, challenge(site), codes[1]).status_code == 403
    assert answer(site, challenge(site), renewed["recovery_codes"][1]).status_code == 201


def test_a_challenge_is_good_for_its_account_its_time_and_its_password(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = set_up(site.signed_in("eve@example.org"), monkeypatch)
    given = challenge(site)
    owner, expiry, signature = given.split("~")
    with db.reading(site.services) as s:
        vic = users.find(s, "vic@example.org").id
    for forged in (
        f"{vic}~{expiry}~{signature}",
        f"{owner}~{int(expiry) + 1}~{signature}",
        f"{owner}~{expiry}~",
        "",
        "José~1~x",
    ):
        refused = answer(site, forged, app.code(monkeypatch))
        assert (refused.status_code, refused.json()["code"]) == (401, "challenge_over"), forged
    with db.session(site.services) as s:
        users.find(s, "eve@example.org").password_hash += "x"
    assert answer(site, given, app.code(monkeypatch)).json()["code"] == "challenge_over"


def test_guessing_codes_is_stopped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(site.signed_in("eve@example.org"), monkeypatch)
    given, tries = challenge(site), site.services.config.accounts.code_tries
    answers = [answer(site, given, "000000").status_code for _ in range(tries + 1)]
    assert answers == [403] * tries + [429]


def test_secrets_are_stored_sealed_and_codes_hashed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    app, codes = set_up(site.signed_in("eve@example.org"), monkeypatch)
    with db.reading(site.services) as s:
        kept = repr([row.__dict__ for kind in (SecondFactor, RecoveryCode) for row in s.query(kind)])
    assert app.secret not in kept and codes[0].replace("-", "") not in kept


def test_it_is_turned_off_with_a_code_or_by_somebody_who_may(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    eve = site.signed_in("eve@example.org")
    app, _ = set_up(eve, monkeypatch)
    assert eve.post("/api/v1/me/second-factor/off", json={"code": "000000"}).status_code == 403
    assert eve.post("/api/v1/me/second-factor/off", json={"code": app.code(monkeypatch)}).status_code == 204
    assert site.browser().post("/api/v1/session", json=EVE).status_code == 201
    set_up(eve, monkeypatch)
    with db.reading(site.services) as s:
        eve_id = users.find(s, "eve@example.org").id
    assert site.signed_in("vic@example.org").delete(f"/api/v1/users/{eve_id}/second-factor").status_code == 403
    ada = site.signed_in()
    assert ada.delete(f"/api/v1/users/{eve_id}/second-factor").status_code == 204
    own = ada.delete(f"/api/v1/users/{ada.get('/api/v1/me').json()['id']}/second-factor")
    assert (own.status_code, own.json()["code"]) == (409, "own_account"), "one's own goes by a code alone"
    assert site.browser().post("/api/v1/session", json=EVE).status_code == 201


def test_a_role_can_ask_for_it_and_then_nothing_goes_before_it_is_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = site.services.config.accounts.model_copy(update={"second_factor_roles": ("editor",)})
    monkeypatch.setitem(site.services.config.__dict__, "accounts", accounts)
    eve = site.signed_in("eve@example.org")
    for path in ("/api/v1/me", "/api/v1/assets", "/api/v1/jobs"):
        assert (eve.get(path).status_code, eve.get(path).json()["code"]) == (403, "second_factor_due")
    page = eve.get("/admin", follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/admin/account/second-factor")
    set_up(eve, monkeypatch)
    assert eve.get("/api/v1/me").status_code == 200
    assert site.signed_in("vic@example.org").get("/api/v1/me").status_code == 200


def test_a_key_changes_nothing_of_it(site: Site) -> None:
    secret = site.signed_in().post("/api/v1/api-keys", json={"name": "k"}).json()["secret"]
    refused = site.bearer(secret).post("/api/v1/me/second-factor", json={"password": PASSWORD})
    assert (refused.status_code, refused.json()["code"]) == (403, "session_needed")


def test_a_role_that_requires_it_refuses_the_keys_of_who_has_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    eve = site.signed_in("eve@example.org")
    key = site.bearer(eve.post("/api/v1/api-keys", json={"name": "k"}).json()["secret"])
    with policy_of(site, "closed", second_factor_roles=("editor",)):
        refused = key.get("/api/v1/me")
        assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_due")
        assert "set one up" in refused.json()["detail"]
        set_up(eve, monkeypatch)
        assert key.get("/api/v1/me").status_code == 200
