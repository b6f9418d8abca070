"""The same door, with a provider that others wrote."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from streamer.config import Config
from tests.streamer.accounts.conftest import Site
from tests.streamer.stack import empty_tables, make_config
from tests.web import NO_TLS

EVE = "eve@example.org"

pytestmark = pytest.mark.filterwarnings("ignore")  # it is built on what Authlib is about to drop


@pytest.fixture
def issuer() -> Iterator[str]:
    from oidc_provider_mock import User, run_server_in_thread  # here: it warns while it is imported

    claims = {"email": EVE, "email_verified": True, "name": "Eve"}
    with run_server_in_thread(require_nonce=True, user_claims=[User(sub="eve", claims=claims)]) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, issuer: str) -> Config:
    one = {"name": "mock", "issuer": issuer, "client_id": "c", "client_secret": "s", "private": True, "link": True}
    database = empty_tables(request, "sqlite", tmp_path)
    return make_config(
        tmp_path, database=database, redis=redis_url, accounts={"providers": [one], "argon2_memory_kib": 64}
    )


def test_somebody_signs_in_by_a_provider_that_others_wrote(site: Site) -> None:
    assert signed_in_as(site) == EVE


def test_also_where_its_tokens_have_no_address_and_userinfo_has(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from oidc_provider_mock import _app

    monkeypatch.setattr(_app.OpenIDCode, "generate_user_info", lambda self, user, scope: {"sub": user.sub})
    assert signed_in_as(site) == EVE


def signed_in_as(site: Site) -> str:
    browser = site.browser()
    asked = browser.get("/admin/sign-in/mock").headers["location"]
    with httpx2.Client(verify=NO_TLS) as elsewhere:
        back = elsewhere.post(asked, data={"sub": "eve"}).headers["location"]
    answer = browser.get(back)
    assert (answer.status_code, answer.headers.get("location")) == (303, "/admin"), answer.text
    return str(browser.get("/api/v1/me").json()["email"])
