"""Budgets of requests, through a running server: whose they are, what answers say of them, what happens without Redis."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import structlog

from streamer import db
from streamer.accounts import apikeys, budgets, users
from streamer.app import create_app
from streamer.config import Config, Limits, Redis
from streamer.services import Services
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.accounts.strangers import from_address, opened, small
from tests.streamer.running import running
from tests.web import NO_TLS

ADA = {"email": "ada@example.org", "password": PASSWORD}
SMALL = {"reading": 5, "changing": 3, "sign_in": 6, "playback": 2, "pages": 4, "letters": 2}


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Config:
    return small(request, tmp_path, redis_url, limits={"window_s": 60, **SMALL})


@pytest.fixture
def site(config: Config) -> Iterator[Site]:
    with opened(config) as site:
        with db.session(site.services) as s:
            for name in ("ada", "vic"):
                email = f"{name}@example.org"
                users.create(s, config.accounts, email=email, name=name, role="viewer", password=PASSWORD)
        yield site


def key_of(services: Services, email: str) -> str:
    with db.session(services) as s:
        return apikeys.issue(s, users.find(s, email), name="k")[1]


def codes(client: httpx2.Client, path: str, count: int) -> list[int]:
    return [client.get(path).status_code for _ in range(count)]


def test_answers_tell_their_budget_and_a_request_over_it_is_refused_with_a_time(site: Site) -> None:
    client = from_address(site, "203.0.113.1")
    first = client.get("/api/v1/me")
    assert first.headers["ratelimit-policy"] == '"reading";q=5;w=60'
    assert first.headers["ratelimit"] == '"reading";r=4;t=12'
    assert codes(client, "/api/v1/me", 4) == [401] * 4
    refused = client.get("/api/v1/me")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.json()["title"] == "Too many requests"
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 12
    assert refused.headers["ratelimit"].startswith('"reading";r=0;t=')


def test_kinds_have_budgets_of_their_own(site: Site) -> None:
    client = from_address(site, "203.0.113.2")
    assert codes(client, "/api/v1/me", 6)[-1] == 429
    assert client.get("/admin/sign-in").headers["ratelimit-policy"] == '"pages";q=4;w=60'
    opening = [client.post("/api/v1/playback-sessions", json={"playback_id": "x"}).status_code for _ in range(3)]
    assert opening == [404, 404, 429]
    asking = [client.post("/api/v1/password-resets", json={"email": "a@example.org"}).status_code for _ in range(3)]
    assert asking == [202, 202, 429]
    assert client.post("/api/v1/users", json={}).headers["ratelimit-policy"].startswith('"changing"')


def test_people_are_refused_with_a_page(site: Site) -> None:
    client = from_address(site, "203.0.113.3")
    assert codes(client, "/admin/sign-in", 4) == [200] * 4
    page = client.get("/admin/sign-in", headers={"Accept": "text/html"})
    assert page.status_code == 429 and page.headers["content-type"].startswith("text/html")
    assert int(page.headers["retry-after"]) >= 1


def test_probes_and_built_files_are_never_counted(site: Site) -> None:
    client = from_address(site, "203.0.113.4")
    assert codes(client, "/livez", 10) == [200] * 10
    assert "ratelimit" not in client.get("/livez").headers


def test_ipv6_clients_are_counted_by_their_network(site: Site) -> None:
    answers = [from_address(site, f"2001:db8:0:1::{n}").get("/api/v1/me").status_code for n in range(6)]
    assert answers == [401] * 5 + [429]
    assert from_address(site, "2001:db8:0:2::1").get("/api/v1/me").status_code == 401


def test_an_account_has_one_budget_wherever_it_comes_from_and_shares_it_with_no_neighbour(site: Site) -> None:
    """A key is a stranger until it was found good once."""
    address, ada, vic = (
        "203.0.113.5",
        key_of(site.services, "ada@example.org"),
        key_of(site.services, "vic@example.org"),
    )
    keys = [site.client({"X-Forwarded-For": address, "Authorization": f"Bearer {key}"}) for key in (ada, vic)]
    assert [key.get("/api/v1/me").status_code for key in keys] == [200, 200]
    assert codes(from_address(site, address), "/api/v1/me", 4) == [401] * 3 + [429]
    assert codes(keys[0], "/api/v1/me", 6) == [200] * 5 + [429], "not the network's, which is used up"
    elsewhere = site.client({"X-Forwarded-For": "203.0.113.6", "Authorization": f"Bearer {ada}"})
    assert elsewhere.get("/api/v1/me").status_code == 429
    assert keys[1].get("/api/v1/me").status_code == 200


def test_a_session_counts_for_its_account(site: Site) -> None:
    browser = site.signed_in()
    assert codes(browser, "/api/v1/me", 6) == [200] * 5 + [429]
    assert from_address(site, "127.0.0.1").get("/api/v1/me").status_code == 401


def test_invented_credentials_gain_nothing(site: Site) -> None:
    address = {"X-Forwarded-For": "203.0.113.7"}
    bearers = [site.client({**address, "Authorization": f"Bearer sk_{n}"}) for n in range(6)]
    assert [bearer.get("/api/v1/me").status_code for bearer in bearers] == [401] * 5 + [429]
    cookies = site.client({**address, "Cookie": "session=made-up"})
    assert cookies.get("/api/v1/me").status_code == 429


def test_an_address_that_a_client_claims_for_itself_is_not_believed(config: Config, site: Site) -> None:
    with running(create_app(config)) as url:
        with httpx2.Client(base_url=url, verify=NO_TLS) as client:
            answers = [
                client.get("/api/v1/me", headers={"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in range(6)
            ]
    assert answers == [401] * 5 + [429]


def test_a_budget_fills_up_again_evenly(config: Config, site: Site) -> None:
    quick = config.model_copy(update={"limits": Limits(window_s=1, reading=2)})
    with opened(quick) as other:
        client = from_address(other, "203.0.113.8")
        assert codes(client, "/api/v1/me", 3) == [401, 401, 429]
        time.sleep(0.55)
        assert codes(client, "/api/v1/me", 2) == [401, 429]


def test_zero_is_no_limit(config: Config, site: Site) -> None:
    with opened(config.model_copy(update={"limits": Limits(reading=0)})) as other:
        client = from_address(other, "203.0.113.9")
        assert codes(client, "/api/v1/me", 10) == [401] * 10 and "ratelimit" not in client.get("/api/v1/me").headers


def test_without_redis_reading_goes_on_and_is_said_once(
    config: Config, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "_REST_S", 0.02)
    away = Redis(url=f"unix://{tmp_path}/nobody-listens-here")
    with structlog.testing.capture_logs() as lines, opened(config.model_copy(update={"redis": away})) as other:
        client = from_address(other, "203.0.113.10")
        assert codes(client, "/api/v1/me", 10) == [401] * 10
        time.sleep(0.05)
        assert codes(client, "/api/v1/me", 2) == [401] * 2
        assert client.post("/api/v1/session", json=ADA).status_code == 503
    assert [line["event"] for line in lines].count("requests are not counted: Redis does not answer") == 1
