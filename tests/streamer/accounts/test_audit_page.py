"""The audit log as administrators read it."""

import re
from pathlib import Path

import pytest
from sqlalchemy import update

from admin.views.audit_words import ACTIONS
from streamer import db
from streamer.accounts.tables import AuditEntry
from tests.servers import ROOT
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.stack import empty_tables


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One is enough: what is written here is what other tests write on both."""
    return empty_tables(request, "sqlite", tmp_path)


def test_the_page_shows_who_did_what_filters_and_pages(site: Site) -> None:
    ada = site.signed_in()
    for number in range(51):
        ada.post("/api/v1/roles", json={"name": f"r{number}", "permissions": []})
    site.browser().post("/api/v1/session", json={"email": "vic@example.org", "password": "wrong"})
    first = ada.get("/admin/audit").text
    assert (
        "session.refuse" in first and "not signed in · 127.0.0.1" in first and ">r50<" in first and ">r0<" not in first
    )
    older = first.partition('href="/admin/audit?cursor=')[2].partition('"')[0]
    assert ">r0<" in ada.get(f"/admin/audit?cursor={older}").text
    about_vic = ada.get("/admin/audit", params={"who": "vic@example.org"}).text
    assert "session.refuse" in about_vic and ">role.create<" not in about_vic
    refusals = ada.get("/admin/audit", params={"action": "session.refuse"}).text
    assert refusals.count('data-entry data-tone="danger"') == 1 and "Sign-in refused" in refusals
    assert "No entry fits" in ada.get("/admin/audit", params={"until": "2020-01-01T00:00"}).text
    assert ada.get("/admin/audit", params={"who": "nobody@example.org"}).status_code == 404
    assert site.signed_in("eve@example.org").get("/admin/audit").status_code == 403


def test_ids_are_names_that_lead_to_their_pages_and_changes_a_diff(site: Site) -> None:
    ada = site.signed_in()
    person = {"email": "n@example.org", "name": "Nell", "role": "viewer", "password": PASSWORD}
    nell = ada.post("/api/v1/users", json=person).json()["id"]
    ada.patch(f"/api/v1/users/{nell}", json={"role": "editor"})
    plan = ada.post("/api/v1/plans", json={"name": "Studio"}).json()["id"]
    ada.put(f"/api/v1/users/{nell}/plan", json={"plan_id": plan})
    ada.post("/api/v1/roles", json={"name": "night", "permissions": ["any:users:read", "site:plans:read"]})
    ada.patch("/api/v1/roles/night", json={"permissions": ["any:users:read", "site:roles:read"]})
    ada.delete("/api/v1/roles/night")
    page = ada.get("/admin/audit").text
    for words in (
        f'href="/admin/people/{nell}">Nell</a>',
        f'href="/admin/plans/{plan}">Studio</a>',
        "Another role given",
        "<del>viewer</del>",
        "<ins>editor</ins>",
        "<dt>plan</dt><dd><ins>Studio</ins>",
        "<del>site:plans:read</del>",
        "<ins>site:roles:read</ins>",
        '<span class="break">night</span>',
    ):
        assert words in page, words


def test_every_action_in_the_code_has_words() -> None:
    recorded = re.compile(r'record\(\s*s,\s*(?:"([a-z_.]+)"(?: if \w+ else "([a-z_.]+)")?)')
    found = [one for path in ROOT.glob("streamer/**/*.py") for one in recorded.findall(path.read_text())]
    assert len(found) > 40 and {action for pair in found for action in pair if action} <= ACTIONS.keys()


def test_the_page_says_whether_the_chain_holds(site: Site) -> None:
    ada = site.signed_in()
    ada.post("/api/v1/users", json={"email": "n@example.org", "name": "N", "role": "viewer", "password": PASSWORD})
    assert "nothing altered" in ada.get("/admin/audit?check=yes").text
    with db.session(site.services) as s:
        s.execute(update(AuditEntry).where(AuditEntry.sequence == 2).values(subject_id="usr_other"))
    assert "Entry 2 is not what was written" in ada.get("/admin/audit?check=yes").text


def test_a_refused_sign_in_tells_whose_account_it_was_but_keeps_no_word_of_what_was_typed(site: Site) -> None:
    for email in ("vic@example.org", "my secret password"):
        site.browser().post("/api/v1/session", json={"email": email, "password": "wrong"})
    ada = site.signed_in()
    unknown, vic = ada.get("/api/v1/audit", params={"action": "session.refuse"}).json()["data"]
    assert vic["subject_id"].startswith("usr_") and vic["address"] == unknown["address"] == "127.0.0.1"
    assert (unknown["subject_id"], unknown["after"]) == ("unknown", {"reason": "wrong_password"})
    assert "my secret" not in ada.get("/api/v1/audit/export").text
    (opened, *_) = ada.get("/api/v1/audit", params={"action": "session.create"}).json()["data"]
    assert opened["way"] == "session" and opened["user_id"] == opened["subject_id"]
