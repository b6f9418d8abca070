"""Forgotten passwords and addresses that change: who gets a letter, what its link does, and what ends with it."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from streamer import db
from streamer.accounts import users
from streamer.membership.tables import Ticket
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.membership.postbox import letters, policy_of, token

NEW = "an entirely new one"


def ask(site: Site, email: str = "eve@example.org") -> str:
    """The secret of the link in the letter."""
    assert site.browser().post("/api/v1/password-resets", json={"email": email}).status_code == 202
    return token(letters(site.services)[-1])


def reset(site: Site, secret: str, password: str = NEW) -> int:
    body = {"token": secret, "password": password}
    return site.browser().post("/api/v1/password-resets/confirm", json=body).status_code


def can_sign_in(site: Site, email: str, password: str) -> bool:
    return site.browser().post("/api/v1/session", json={"email": email, "password": password}).status_code == 201


def test_a_new_password_ends_all_sessions_and_is_told(site: Site) -> None:
    first, second = site.signed_in("eve@example.org"), site.signed_in("eve@example.org")
    secret = ask(site)
    assert reset(site, secret, "short") == 400, "and the link still works"
    assert reset(site, secret) == 204
    assert first.get("/api/v1/me").status_code == second.get("/api/v1/me").status_code == 401
    assert can_sign_in(site, "eve@example.org", NEW) and not can_sign_in(site, "eve@example.org", PASSWORD)
    assert "password of your account" in letters(site.services)[-1].get_content()
    assert reset(site, secret, PASSWORD) == 410
    with db.reading(site.services) as s:
        assert users.find(s, "eve@example.org").email_verified_at is not None


def test_other_links_of_the_account_close_with_it(site: Site) -> None:
    older, newer = ask(site), ask(site)
    eve = site.signed_in("eve@example.org")
    eve.post("/api/v1/me/address", json={"email": "thief@example.org", "password": PASSWORD})
    change = token(letters(site.services)[-1])
    assert reset(site, newer) == 204
    assert reset(site, older, PASSWORD) == 410
    assert site.browser().post("/api/v1/confirmations", json={"token": change}).status_code == 410


@pytest.mark.parametrize("email", ["nobody@example.org", "vic@example.org"])
def test_an_address_without_an_active_account_gets_the_same_answer_and_no_letter(site: Site, email: str) -> None:
    with db.session(site.services) as s:
        users.set_disabled(s, users.find(s, "vic@example.org").id, True)
    known = site.browser().post("/api/v1/password-resets", json={"email": "eve@example.org"})
    other = site.browser().post("/api/v1/password-resets", json={"email": email})
    assert (known.status_code, known.content) == (other.status_code, other.content)
    assert [letter["To"] for letter in letters(site.services)] == ["eve@example.org"]


def test_the_time_of_an_answer_does_not_tell_who_has_an_account(site: Site) -> None:
    """The same statements are run; medians of interleaved tries stay within each other's half."""
    browser = site.browser()
    with policy_of(site, "open", letters=100, letters_address=1000):
        took: dict[str, list[float]] = {"eve@example.org": [], "nobody@example.org": []}
        for _ in range(15):
            for email, times in took.items():
                began = time.perf_counter()
                browser.post("/api/v1/password-resets", json={"email": email})
                times.append(time.perf_counter() - began)
    known, unknown = (statistics.median(times) for times in took.values())
    assert 0.5 < known / unknown < 2


def test_a_link_is_stored_only_as_its_hash_and_gone_from_its_row_when_used(site: Site) -> None:
    secret = ask(site)
    with db.reading(site.services) as s:
        (row,) = s.scalars(select(Ticket)).all()
    assert secret not in repr(row.__dict__)
    reset(site, secret)
    with db.reading(site.services) as s:
        assert s.scalars(select(Ticket.data)).all() == [None]


def test_a_link_for_one_thing_opens_no_other(site: Site) -> None:
    secret = ask(site)
    browser = site.browser()
    assert browser.post("/api/v1/confirmations", json={"token": secret}).status_code == 410
    body = {"token": secret, "name": "N", "password": NEW}
    assert browser.post("/api/v1/invitations/accept", json=body).status_code == 410
    assert reset(site, secret) == 204


def test_links_lead_to_the_configured_address_whatever_host_was_asked(site: Site) -> None:
    site.browser(Host="6.6.6.6").post("/api/v1/password-resets", json={"email": "eve@example.org"})
    server = site.services.config.server
    assert f"http://{server.host}:{server.port}/admin/reset?token=" in letters(site.services)[0].get_content()


def test_an_address_is_changed_at_the_new_one_and_told_to_the_old_one(site: Site) -> None:
    eve = site.signed_in("eve@example.org")
    wrong = eve.post("/api/v1/me/address", json={"email": "new@example.org", "password": "wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    assert eve.post("/api/v1/me/address", json={"email": "new@example.org", "password": PASSWORD}).status_code == 202
    (asked,) = letters(site.services)
    assert asked["To"] == "new@example.org" and eve.get("/api/v1/me").json()["email"] == "eve@example.org"
    answer = site.browser().post("/api/v1/confirmations", json={"token": token(asked)})
    assert (answer.json()["confirmed"], answer.json()["user"]["email"]) == ("change_address", "new@example.org")
    told = letters(site.services)[-1]
    assert told["To"] == "eve@example.org" and "new@example.org" in told.get_content()
    assert can_sign_in(site, "new@example.org", PASSWORD) and not can_sign_in(site, "eve@example.org", PASSWORD)


def test_an_address_that_somebody_has_is_not_given_away(site: Site) -> None:
    eve = site.signed_in("eve@example.org")
    free = eve.post("/api/v1/me/address", json={"email": "free@example.org", "password": PASSWORD})
    taken = eve.post("/api/v1/me/address", json={"email": "ada@example.org", "password": PASSWORD})
    assert (free.status_code, free.content) == (taken.status_code, taken.content)
    assert "Nothing was changed" in letters(site.services)[-1].get_content()


def test_an_address_is_proved_by_its_owner(site: Site) -> None:
    eve = site.signed_in("eve@example.org")
    assert eve.get("/api/v1/me").json()["email_verified_at"] is None
    assert eve.post("/api/v1/me/verification").status_code == 202
    site.browser().post("/api/v1/confirmations", json={"token": token(letters(site.services)[0])})
    assert eve.get("/api/v1/me").json()["email_verified_at"]


def test_a_key_does_nothing_of_this(site: Site) -> None:
    secret = site.signed_in().post("/api/v1/api-keys", json={"name": "k"}).json()["secret"]
    key = site.bearer(secret)
    for path, body in (("verification", {}), ("address", {"email": "x@example.org", "password": PASSWORD})):
        assert key.post(f"/api/v1/me/{path}", json=body).json()["code"] == "session_needed"


def test_of_two_who_use_a_link_at_once_one_gets_in(site: Site) -> None:
    secret = ask(site)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda at: reset(site, secret, f"password number {at}"), range(4)))
    assert sorted(answers) == [204, 410, 410, 410]
