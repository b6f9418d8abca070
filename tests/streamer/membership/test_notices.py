"""What the owner of an account is told by letter when something that guards it changes, whoever changed it."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.streamer.accounts.conftest import Site
from tests.streamer.accounts.test_second_factor import answer, challenge, set_up
from tests.streamer.membership.postbox import letters
from tests.streamer.stack import empty_tables

EVE = "eve@example.org"


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One is enough: what is written here is what other tests write on both."""
    return empty_tables(request, "sqlite", tmp_path)


def new_ones(site: Site, known: list[str]) -> list[EmailMessage]:
    """Letters that were not known before; they are now."""
    found = [letter for letter in letters(site.services) if letter["Message-ID"] not in known]
    known += [letter["Message-ID"] for letter in found]
    return found


def test_each_change_of_a_second_factor_is_told_to_its_owner(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    eve, known = site.signed_in(EVE), list[str]()

    def told() -> list[str]:
        found = new_ones(site, known)
        assert {letter["To"] for letter in found} == {EVE}
        return sorted(letter["Subject"] for letter in found)

    app, codes = set_up(eve, monkeypatch)
    assert told() == ["A second factor was turned on"]
    assert answer(site, challenge(site), codes[0]).status_code == 201
    assert answer(site, challenge(site), "wrong-code").status_code == 403
    assert told() == ["A recovery code was used"], "and what was refused is no letter"
    eve.post("/api/v1/me/second-factor/recovery-codes", json={"code": app.code(monkeypatch)})
    assert told() == ["You have new recovery codes"]
    eve.post("/api/v1/me/second-factor/off", json={"code": app.code(monkeypatch)})
    assert told() == ["Your second factor was turned off"]
    set_up(eve, monkeypatch)
    new_ones(site, known)
    site.signed_in().delete(f"/api/v1/users/{eve.get('/api/v1/me').json()['id']}/second-factor")
    assert told() == ["Your second factor was taken away"]


def test_a_letter_says_what_is_left_and_what_to_do(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _, codes = set_up(site.signed_in(EVE), monkeypatch)
    answer(site, challenge(site), codes[0])
    used = next(letter for letter in letters(site.services) if "recovery" in letter["Subject"])
    assert "9 are left." in used.get_content() and "/admin/forgotten" in used.get_content()
    assert codes[0] not in used.get_content()
