"""Guessing through a running server: it gets slower and slower for strangers, and the owner signs in as ever."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from streamer import db
from streamer.accounts import second_factor, throttle, totp, users
from streamer.config import Config
from streamer.errors import RateLimited
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.accounts.strangers import from_address, opened, small

ADA, EVE = "ada@example.org", "eve@example.org"
HOME = "203.0.113.1"
QUICK = {"login_tries": 3, "login_tries_address": 8, "code_tries": 3, "login_lockout_s": 1, "login_lockout_max_s": 600}


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Config:
    return small(request, tmp_path, redis_url, accounts=QUICK, limits={"sign_in": 40})


@pytest.fixture
def site(config: Config) -> Iterator[Site]:
    with opened(config) as site:
        with db.session(site.services) as s:
            for email in (ADA, EVE):
                users.create(s, config.accounts, email=email, name="x", role="viewer", password=PASSWORD)
        yield site


def sign_in(client: httpx2.Client, email: str = ADA, password: str = PASSWORD) -> httpx2.Response:
    return client.post("/api/v1/session", json={"email": email, "password": password})


def time_passes(site: Site) -> None:
    """The wait of the guesser at home is over."""
    site.services.kv_sync.hset(f"login-tries:{throttle.account_of(ADA)}:{HOME}", "until", "0")


def wait_of(answer: httpx2.Response) -> int:
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited"), answer.text
    return int(answer.headers["retry-after"])


def test_each_wrong_password_doubles_the_wait_and_the_right_one_ends_it(site: Site) -> None:
    guesser = from_address(site, HOME)
    assert [sign_in(guesser, password="a guess").status_code for _ in range(3)] == [401] * 3
    waits = []
    for _ in range(2):
        waits.append(wait_of(sign_in(guesser, password="a guess")))
        time_passes(site)
        assert sign_in(guesser, password="a guess").status_code == 401
    waits.append(wait_of(sign_in(guesser)))
    assert waits == [1, 2, 4], "the right password waits like any other"
    time_passes(site)
    assert sign_in(guesser).status_code == 201
    assert [sign_in(from_address(site, HOME), password="a guess").status_code for _ in range(3)] == [401] * 3


def test_an_owner_who_was_here_before_signs_in_whatever_comes_from_where(site: Site) -> None:
    owner = from_address(site, HOME)
    assert sign_in(owner).status_code == 201
    with ThreadPoolExecutor(4) as flood:
        addresses = [HOME] * 50 + [f"198.51.100.{n}" for n in range(60)]
        guessers = [from_address(site, address) for address in addresses]
        answers = list(flood.map(lambda guesser: sign_in(guesser, password="a guess"), guessers))
    assert {answer.status_code for answer in answers} == {401, 429}
    assert 429 in {answer.status_code for answer in answers[:50]}, "strangers of the same network wait"
    assert sign_in(owner).status_code == 201
    assert sign_in(owner, password="mistyped").status_code == 401
    assert sign_in(owner).status_code == 201


def test_a_known_browser_is_no_way_around_the_wait(site: Site) -> None:
    """Its own tries lock it, and for other accounts it is a stranger."""
    thief = from_address(site, HOME)
    assert sign_in(thief).status_code == 201
    assert [sign_in(thief, password="a guess").status_code for _ in range(4)] == [401] * 3 + [429]
    assert [sign_in(thief, EVE, "a guess").status_code for _ in range(4)] == [401] * 3 + [429]
    thief.cookies.clear()
    assert sign_in(thief).status_code == 201, "the count of strangers is another one"


def test_an_ipv6_network_is_one_guesser(site: Site) -> None:
    answers = [sign_in(from_address(site, f"2001:db8::{n}"), password="a guess").status_code for n in range(4)]
    assert answers == [401] * 3 + [429]
    assert sign_in(from_address(site, "2001:db8:0:1::1")).status_code == 201


def test_a_network_waits_for_all_accounts_and_right_passwords_do_not_count(site: Site) -> None:
    for _ in range(10):
        assert sign_in(from_address(site, HOME)).status_code == 201
    guesser = from_address(site, HOME)
    answers = [sign_in(guesser, f"{n}@example.org", "a guess").status_code for n in range(9)]
    assert answers == [401] * 8 + [429]
    assert sign_in(guesser).status_code == 429 and sign_in(from_address(site, "203.0.113.2")).status_code == 201


def test_a_thousand_tries_at_once_are_a_thousand_tries(site: Site) -> None:
    def attempt(_: int) -> bool:
        try:
            throttle.count_try(site.services, ADA, HOME)
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(8) as flood:
        assert sum(flood.map(attempt, range(200))) == 3


def test_tries_are_forgiven_with_time(site: Site) -> None:
    for _ in range(2):
        throttle.count_try(site.services, ADA, HOME)
    key = f"login-tries:{throttle.account_of(ADA)}:{HOME}"
    third = site.services.config.accounts.login_window_s / 3
    site.services.kv_sync.hset(key, "at", str(time.time() - third))
    throttle.count_try(site.services, ADA, HOME)
    assert float(str(site.services.kv_sync.hget(key, "tries"))) == pytest.approx(2, abs=0.01)
    assert 0 < int(str(site.services.kv_sync.ttl(key))) <= 2 * third + 1


def test_who_knows_the_password_and_guesses_codes_keeps_no_owner_out(site: Site) -> None:
    owner = from_address(site, HOME)
    assert sign_in(owner).status_code == 201
    with db.session(site.services) as s:
        user = users.find(s, ADA)
        secret = second_factor.begin(s, site.services.secrets, user)
        codes = second_factor.confirm(s, site.services.secrets, user.id, totp.code(secret, int(time.time()) // 30))
    thief = from_address(site, "203.0.113.9")
    assert answer(thief, ["000000"] * 4) == [403] * 3 + [429]
    assert answer(owner, [codes[0]]) == [201]


def answer(client: httpx2.Client, codes: list[str]) -> list[int]:
    challenge = sign_in(client).json()["challenge"]
    given = [{"challenge": challenge, "code": code} for code in codes]
    return [client.post("/api/v1/session/second-factor", json=body).status_code for body in given]


def test_signing_in_over_https_makes_both_cookies_the_hosts_own(site: Site) -> None:
    client = site.client({"X-Forwarded-Proto": "https", "X-Forwarded-For": HOME})
    cookies = sign_in(client).headers.get_list("set-cookie")
    assert sorted(cookie.partition("=")[0] for cookie in cookies) == ["__Host-device", "__Host-session"]
    for cookie in cookies:
        assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
