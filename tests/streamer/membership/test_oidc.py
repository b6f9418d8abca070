"""Signing in by a provider: who gets in and as whom, and every lie on the way back that must open nothing."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.responses import RedirectResponse, Response

from streamer import db
from streamer.accounts import audit_chain, users
from streamer.accounts.roles import Role
from streamer.config import Config
from streamer.membership.oidc import provider as providers
from streamer.sections import Provider
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.accounts.test_second_factor import set_up
from tests.streamer.membership import idp as idps
from tests.streamer.membership.idp import CLIENT, SECRET, Idp, SigningKey
from tests.streamer.membership.postbox import letters, policy_of
from tests.streamer.stack import empty_tables, make_config
from tests.web import NO_TLS

EVE = "eve@example.org"


@pytest.fixture
def idp() -> Iterator[Idp]:
    with idps.provider() as running:
        yield running


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One is enough; the tables are those of every other test."""
    return empty_tables(request, "sqlite", tmp_path)


@pytest.fixture
def config(tmp_path: Path, database_url: str, redis_url: str, idp: Idp) -> Config:
    weak: dict[str, object] = {"argon2_time": 1, "argon2_memory_kib": 64, "argon2_lanes": 1}
    known = {"name": "idp", "title": "Example ID", "issuer": idp.url, "client_id": CLIENT, "client_secret": SECRET}
    one = {**known, "private": True, "link": True, "second_factor": ["mfa"]}
    return make_config(tmp_path, database=database_url, redis=redis_url, accounts={**weak, "providers": [one]})


def change(site: Site, **settings: Any) -> Any:
    """While the block lasts, the provider is configured like this."""
    (one,) = site.services.config.accounts.providers
    changed = Provider.model_validate({**one.model_dump(), **settings})
    return policy_of(site, "closed", providers=(changed,))


def answer_of(browser: httpx2.Client, following: str = "") -> str:
    """Set out, and what the provider sends the browser back to."""
    start = browser.get("/admin/sign-in/idp", params={"next": following})
    assert start.status_code == 303, start.text
    with httpx2.Client(verify=NO_TLS) as elsewhere:
        return str(elsewhere.get(start.headers["location"]).headers["location"])


def come_back(browser: httpx2.Client, url: str) -> httpx2.Response:
    return browser.get(url, headers={"Sec-Fetch-Site": "cross-site"})


def sign_in(site: Site, following: str = "") -> tuple[httpx2.Client, httpx2.Response]:
    browser = site.browser()
    return browser, come_back(browser, answer_of(browser, following))


def is_in(browser: httpx2.Client) -> bool:
    return browser.get("/api/v1/me").status_code == 200


def refused(site: Site) -> str:
    """Why the sign-in page says it did not work."""
    browser, answer = sign_in(site)
    assert answer.status_code in (401, 403, 503) and not is_in(browser), answer.text
    return str(answer.text)


def test_a_linked_account_is_entered_under_a_new_session_and_linked_only_once(site: Site, idp: Idp) -> None:
    assert "Sign in with Example ID" in site.browser().get("/admin/sign-in").text
    browser, answer = sign_in(site, "/admin/people")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/people"), answer.text
    assert browser.get("/api/v1/me").json()["email"] == EVE and "provider" not in browser.cookies
    idp.claims = {"email": "another@example.org", "email_verified": False}
    again, _ = sign_in(site)
    assert again.get("/api/v1/me").json()["email"] == EVE, "the subject counts, whatever the address is now"
    assert [entry.action for entry in audit_chain.walk(site.services)].count("identity.link") == 1
    assert idp.wrong_requests == []
    (letter,) = letters(site.services)
    assert letter["To"] == EVE and "linked to Example ID" in letter.get_content()
    export = again.get("/api/v1/me/export").json()
    assert export["providers"] == [{"provider": "idp", "issuer": idp.url, "subject": "eve-at-idp"}]


def test_a_link_is_ended_by_its_owner_alone(site: Site) -> None:
    browser, _ = sign_in(site)
    (link,) = browser.get("/api/v1/me/providers").json()["data"]
    page = browser.get("/admin/account").text
    assert "End the link to Example ID" in page and f"/admin/account/providers/{link['id']}/unlink" in page
    assert site.signed_in().delete(f"/api/v1/me/providers/{link['id']}").status_code == 404
    browser.headers["X-CSRF-Token"] = browser.get("/api/v1/me").json()["csrf_token"]
    assert browser.delete(f"/api/v1/me/providers/{link['id']}").status_code == 204
    assert browser.get("/api/v1/me/providers").json()["data"] == []
    with change(site, link=False):
        assert "Sign in with its password" in refused(site)
    assert [entry.action for entry in audit_chain.walk(site.services)].count("identity.unlink") == 1


def test_only_a_verified_address_and_the_configuration_open_an_account(site: Site, idp: Idp) -> None:
    idp.claims = {"email_verified": False}
    assert "does not say that your e-mail address is yours" in refused(site)
    idp.claims = {"email": None}
    assert "does not say" in refused(site)
    idp.claims = {"email": "stranger@example.org", "sub": "stranger"}
    assert "Ask an administrator" in refused(site)
    idp.claims = {}
    with change(site, link=False):
        assert "Sign in with its password" in refused(site)
    with db.session(site.services) as s:
        users.set_disabled(s, users.find(s, EVE).id, True)
    assert "shut out" in refused(site)


def test_an_address_that_the_token_does_not_tell_is_asked_for(site: Site, idp: Idp) -> None:
    idp.profile = PROFILE
    assert is_in(sign_in(site)[0]) and idp.profile_reads == 0, "not, when the token tells it"
    idp.claims = {"email": None, "email_verified": None, "sub": "vic-at-idp", "name": None}
    idp.profile = PROFILE | {"sub": "vic-at-idp", "email": "Vic@example.org"}
    assert sign_in(site)[0].get("/api/v1/me").json()["email"] == "vic@example.org"


PROFILE: dict[str, Any] = {"sub": "eve-at-idp", "email": EVE, "email_verified": True, "name": "Eve"}
USELESS: dict[str, tuple[dict[str, Any] | Response, str]] = {
    "somebody else's": (PROFILE | {"sub": "another"}, "somebody else"),
    "nobody's": ({"email": EVE, "email_verified": True}, "somebody else"),
    "not verified": (PROFILE | {"email_verified": False}, "does not say that your e-mail address is yours"),
    "verified elsewhere": ({"sub": "eve-at-idp", "email": EVE}, "does not say that your e-mail address is yours"),
    "too long": (PROFILE | {"padding": "x" * (1 << 20)}, "be asked at the moment"),
    "no JSON": (Response("<html>"), "be asked at the moment"),
    "a refusal": (Response('{"sub": "eve-at-idp"}', 403), "be asked at the moment"),
    "a redirect": (RedirectResponse("/elsewhere"), "be asked at the moment"),
    "a list": (Response("[]"), "be asked at the moment"),
}


def test_no_profile_that_is_not_theirs_whole_and_proved_opens_anything(site: Site, idp: Idp) -> None:
    idp.claims = {"email": None, "email_verified": True}
    for what, (profile, why) in USELESS.items():
        idp.profile = profile
        assert why in refused(site), what
    assert idp.profile_reads == len(USELESS)
    idp.profile = PROFILE | {"amr": ["mfa"], "acr": "mfa"}
    assert is_in(browser := sign_in(site)[0])
    with policy_of(site, "closed", second_factor_roles=("editor",)):
        assert browser.get("/api/v1/me").json()["code"] == "second_factor_due", "it vouches for no second factor"


def test_a_profile_is_asked_for_by_the_rules_for_all_that_goes_out(site: Site, idp: Idp) -> None:
    idp.claims, idp.profile = {"email": None}, PROFILE
    idp.profile_at = "file:///etc/passwd"
    assert "be asked at the moment" in refused(site)


def test_who_has_no_account_gets_one_if_the_configuration_says_so_with_the_role_of_the_claim(
    site: Site, idp: Idp
) -> None:
    idp.claims = {"email": "New@Example.org", "sub": "new", "name": "New <b>One</b>", "groups": ["x", "film-editors"]}
    mapped = {"role_claim": "groups", "roles": {"film-editors": "editor", "x-none": "viewer"}}
    with change(site, sign_up=True, **mapped):
        browser, _ = sign_in(site)
        me = browser.get("/api/v1/me").json()
        assert (me["email"], me["role"], bool(me["email_verified_at"])) == ("new@example.org", "editor", True)
        idp.claims |= {"groups": ["x-none"]}
        assert sign_in(site)[0].get("/api/v1/me").json()["role"] == "viewer", "at each sign-in"
        idp.claims = {"email": "ada@example.org", "sub": "ada", "groups": ["x-none"]}
        assert sign_in(site)[0].get("/api/v1/me").json()["role"] == Role.ADMIN, "the last administrator stays one"
    with_password = site.browser().post("/api/v1/session", json={"email": "new@example.org", "password": "!"})
    assert with_password.status_code == 401, "there is no password that opens it"


def test_our_second_factor_is_asked_for_unless_the_providers_counts(
    site: Site, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, _ = sign_in(site)
    with policy_of(site, "closed", second_factor_roles=("editor",)):
        assert browser.get("/api/v1/me").json()["code"] == "second_factor_due"
        idp.claims = {"amr": ["pwd", "mfa"]}
        assert is_in(sign_in(site)[0])
        with change(site, second_factor=()), policy_of(site, "closed", second_factor_roles=("editor",)):
            assert not is_in(sign_in(site)[0])
    app, _ = set_up(site.signed_in(EVE), monkeypatch)
    assert is_in(sign_in(site)[0])
    idp.claims = {"amr": ["pwd"]}
    browser, asked = sign_in(site, "/admin/people")
    assert asked.status_code == 200 and not is_in(browser)
    challenge = asked.text.partition('name="challenge" value="')[2].partition('"')[0]
    form = {"challenge": challenge, "code": app.code(monkeypatch), "next": "/admin/people"}
    assert browser.post("/admin/sign-in/code", data=form).headers["location"] == "/admin/people" and is_in(browser)


LIES: dict[str, tuple[dict[str, Any], Callable[..., str] | None]] = {
    "another nonce": ({"nonce": "another"}, None),
    "no nonce": ({"nonce": None}, None),
    "no signature": ({}, idps.unsigned),
    "signed with the public key": ({}, idps.signed_with_the_public_key),
    "signed by somebody else": ({}, idps.signed_by_somebody_else),
    "a foreign issuer": ({"iss": "https://evil.example"}, None),
    "a foreign audience": ({"aud": "another-client"}, None),
    "two audiences and no party": ({"aud": [CLIENT, "another-client"]}, None),
    "another party": ({"azp": "another-client"}, None),
    "expired": ({"exp": int(time.time()) - 61}, None),
    "from the future": ({"iat": int(time.time()) + 3600}, None),
    "no end": ({"exp": None}, None),
    "no subject": ({"sub": None}, None),
    "a subject in another alphabet": ({"sub": "ε"}, None),
    "no token": ({}, lambda idp, claims: "nonsense"),
}


def test_no_token_that_is_not_the_providers_for_us_now_opens_anything(site: Site, idp: Idp) -> None:
    believed = []
    for lie, (claims, forge) in LIES.items():
        idp.claims, idp.forge = claims, forge
        browser, answer = sign_in(site)
        if answer.status_code not in (401, 403) or is_in(browser):
            believed.append((lie, answer.status_code))
    idp.claims, idp.forge = {}, None
    assert believed == [] and is_in(sign_in(site)[0])


def test_an_answer_counts_once_for_the_browser_and_the_question_it_belongs_to(site: Site, idp: Idp) -> None:
    idp.takes_codes_again = True
    browser = site.browser()
    good = answer_of(browser)
    cookie = browser.cookies["provider"]
    code, state = (parse_qs(urlsplit(good).query)[name][0] for name in ("code", "state"))
    path = urlsplit(good).path
    assert "another question" in come_back(browser, f"{path}?code={code}&state=wrong").text
    assert "did not ask" in come_back(site.browser(), good).text, "another browser's, as in a forged sign-in"
    assert "another provider" in come_back(restored(site, cookie), f"{good}&iss=https://evil.example").text
    assert "access_denied" in come_back(restored(site, cookie), f"{path}?error=access_denied&state={state}").text
    assert come_back(entered := restored(site, cookie), good).status_code == 303 and is_in(entered)
    replayed = come_back(restored(site, cookie), good)
    assert replayed.status_code == 401 and "used already" in replayed.text
    other = answer_of(browser := site.browser())
    stolen = other.replace(parse_qs(urlsplit(other).query)["code"][0], code)
    assert come_back(browser, stolen).status_code == 401 and not is_in(browser), "a code of another question"
    idp.takes_codes_again = False
    later = answer_of(browser := site.browser())
    assert come_back(browser, later.replace("code=", "code=x")).status_code == 401 and idp.wrong_requests[-1] == "code"


def restored(site: Site, cookie: str) -> httpx2.Client:
    """A browser with that cookie, as its own or as who stole it has it."""
    browser = site.browser()
    browser.cookies.set("provider", cookie)
    return browser


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_by_a_provider_never_leads_to_another_host(site: Site, elsewhere: str) -> None:
    assert sign_in(site, elsewhere)[1].headers["location"] == "/admin"


def test_keys_may_change_at_any_time_but_nobody_can_make_us_ask_all_day(
    site: Site, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_in(sign_in(site)[0])
    idp.key = SigningKey()
    for _ in range(3):
        refused(site)
    assert idp.key_reads == 1
    monkeypatch.setattr(providers, "_KEYS_AGAIN_S", 0)
    assert is_in(sign_in(site)[0]) and idp.key_reads == 2


def test_a_provider_has_to_be_who_the_configuration_says_where_it_may_be(site: Site, idp: Idp) -> None:
    idp.described_as = "https://evil.example"
    browser = site.browser()
    assert "be asked at the moment" in browser.get("/admin/sign-in/idp").text
    with policy_of(site, "closed", providers=(Provider(name="idp", issuer="https://127.0.0.1:1", client_id="c"),)):
        assert browser.get("/admin/sign-in/idp").status_code == 503
    assert browser.get("/admin/sign-in/nobody").status_code == 404
    with pytest.raises(ValueError, match="https"):
        Provider(name="idp", issuer="http://idp.example", client_id="c")
    assert site.browser().post("/api/v1/session", json={"email": EVE, "password": PASSWORD}).status_code == 201
