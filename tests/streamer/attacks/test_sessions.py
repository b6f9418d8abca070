"""Cookies in wrong hands and requests from wrong places, straight and through nginx."""

import httpx2
import pytest

from tests.streamer.attacks.door import HOST, PASSWORD, Door

ADA = {"email": "ada@example.org", "password": PASSWORD}
NEW = {"email": "new@example.org", "name": "New", "role": "viewer", "password": "long enough"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, "foreign_origin"),
        ({"Sec-Fetch-Site": "same-site"}, "foreign_origin"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": f"http://{HOST}"}, "foreign_origin"),
        ({"Sec-Fetch-Site": "", "Origin": "https://evil.example"}, "foreign_origin"),
        ({"X-CSRF-Token": ""}, "csrf"),
        ({"X-CSRF-Token": "A" * 43}, "csrf"),
        ({"X-CSRF-Token": "\xff"}, "csrf"),
    ],
)
def test_a_change_that_another_page_made_is_refused(door: Door, headers: dict[str, str], code: str) -> None:
    browser = door.signed_in()
    sent = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    for answer in (
        browser.post("/api/v1/users", json=NEW, headers=sent),
        browser.delete("/api/v1/session", headers=sent),
        browser.post("/admin/people", data={**NEW, "csrf_token": headers.get("X-CSRF-Token", "")}, headers=sent),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert answer.headers["content-type"] == "application/problem+json"
    assert browser.get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://[", "null", "//", "http://", f"http://{HOST}.evil.example", f"http://x@{HOST}"]
)
def test_an_origin_that_is_none_of_ours_signs_nobody_in(door: Door, origin: str) -> None:
    browser = door.browser(Origin=origin)
    del browser.headers["Sec-Fetch-Site"]
    answer = browser.post("/api/v1/session", json=ADA)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


def test_the_token_of_another_session_is_worth_nothing(door: Door) -> None:
    one, other = door.signed_in(), door.signed_in()
    answer = one.post("/api/v1/users", json=NEW, headers={"X-CSRF-Token": other.headers["X-CSRF-Token"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf")


def test_a_session_is_not_taken_up_again_after_signing_out(door: Door) -> None:
    browser = door.signed_in()
    stolen = browser.cookies["session"]
    assert replayed(door, stolen).status_code == 200
    assert browser.delete("/api/v1/session").status_code == 204
    assert replayed(door, stolen).status_code == 401


def test_a_session_is_not_taken_up_again_after_the_password_was_changed(door: Door) -> None:
    browser, stolen = door.signed_in(), door.signed_in().cookies["session"]
    own = browser.cookies["session"]
    for old, new in ((PASSWORD, "another battery"), ("another battery", PASSWORD)):
        changed = browser.post("/api/v1/me/password", json={"password": old, "new_password": new})
        assert changed.status_code == 200, changed.text
        browser.headers["X-CSRF-Token"] = changed.json()["csrf_token"]
        assert [replayed(door, cookie).status_code for cookie in (stolen, own)] == [401, 401]
    assert browser.get("/api/v1/me").status_code == 200


def test_a_session_that_somebody_planted_is_not_the_one_that_opens(door: Door) -> None:
    attacker = door.signed_in()
    for planted in ("fixed", attacker.cookies["session"]):
        victim = door.browser(Cookie=f"session={planted}")
        opened = victim.post("/api/v1/session", json=ADA)
        assert opened.status_code == 201 and opened.cookies["session"] != planted
        assert replayed(door, planted).status_code == 401


def test_of_two_cookies_with_one_name_none_opens_more_than_its_own(door: Door) -> None:
    good = door.signed_in().cookies["session"]
    answers = {replayed(door, f"x; session={good}").status_code, replayed(door, f"{good}; session=x").status_code}
    assert answers <= {200, 401}
    assert replayed(door, "x; __Host-session=" + good).status_code == 401, "over http that name means nothing"


def test_cookies_are_out_of_the_reach_of_scripts_and_other_sites(door: Door) -> None:
    answer = door.browser().post("/admin/sign-in", data=ADA)
    cookies = answer.headers.get_list("set-cookie")
    assert sorted(cookie.partition("=")[0] for cookie in cookies) == ["device", "session"]
    for cookie in cookies:
        assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; ")) and "Domain" not in cookie


def replayed(door: Door, cookie: str) -> httpx2.Response:
    return door.browser().get("/api/v1/me", headers={"Cookie": f"session={cookie}"})
