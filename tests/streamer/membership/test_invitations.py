"""Invitations: one letter, one account, with the role that was promised and no other."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from streamer import db
from streamer.accounts import users
from streamer.membership.tables import Ticket
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.membership.postbox import letters, policy_of, token

NEW = {"name": "Nora", "password": PASSWORD}


def invite(site: Site, email: str = "nora@example.org", role: str = "member") -> dict[str, str]:
    answer = site.signed_in().post("/api/v1/invitations", json={"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


def accept(site: Site, secret: str) -> tuple[int, str]:
    answer = site.browser().post("/api/v1/invitations/accept", json={"token": secret, **NEW})
    return answer.status_code, answer.json().get("code", "")


def test_an_invitation_becomes_an_account_once(site: Site) -> None:
    with policy_of(site, "invitation"):
        made = invite(site)
        (letter,) = letters(site.services)
        assert letter["To"] == "nora@example.org" and "Ada invites you" in letter.get_content()
        assert token(letter) not in str(made) and made["role"] == "member"
        answer = site.browser().post("/api/v1/invitations/accept", json={"token": token(letter), **NEW})
        assert answer.status_code == 201 and answer.json()["email_verified_at"]
        assert site.signed_in("nora@example.org").get("/api/v1/me").json()["role"] == "member"
        assert accept(site, token(letter)) == (410, "link_invalid")
    assert site.signed_in().get("/api/v1/invitations").json()["data"] == []


def test_what_was_withdrawn_replaced_or_is_too_old_opens_nothing(site: Site) -> None:
    with policy_of(site, "invitation"):
        ada = site.signed_in()
        invite(site)
        old = token(letters(site.services)[-1])
        second = invite(site)
        new = token(letters(site.services)[-1])
        assert [row["id"] for row in ada.get("/api/v1/invitations").json()["data"]] == [second["id"]]
        assert accept(site, old)[0] == accept(site, "x" * 43)[0] == 410
        with db.session(site.services) as s:
            s.execute(update(Ticket).values(expires_at=db.now() - timedelta(seconds=1)))
        assert accept(site, new) == (410, "link_invalid")
        third = invite(site)
        newest = token(letters(site.services)[-1])
        assert ada.delete(f"/api/v1/invitations/{third['id']}").status_code == 204
        assert accept(site, newest) == (410, "link_invalid")


def test_the_invitations_of_somebody_who_is_shut_out_or_demoted_are_void(site: Site) -> None:
    with policy_of(site, "invitation"), db.session(site.services) as s:
        users.create(
            s, site.services.config.accounts, email="al@example.org", name="Al", role="admin", password=PASSWORD
        )
    with policy_of(site, "invitation"):
        al = site.signed_in("al@example.org")
        for email in ("one@example.org", "two@example.org"):
            assert al.post("/api/v1/invitations", json={"email": email, "role": "admin"}).status_code == 201
        one, two = (token(letter) for letter in letters(site.services))
        with db.session(site.services) as s:
            users.set_role(s, users.find(s, "al@example.org").id, "viewer")
        assert accept(site, one) == (409, "role_gone")
        with db.session(site.services) as s:
            users.set_disabled(s, users.find(s, "al@example.org").id, True)
        assert accept(site, two) == (410, "link_invalid")


def test_nobody_is_invited_where_accounts_are_closed(site: Site) -> None:
    answer = site.signed_in().post("/api/v1/invitations", json={"email": "n@example.org", "role": "viewer"})
    assert (answer.status_code, answer.json()["code"]) == (403, "sign_up_closed")


@pytest.mark.parametrize(
    ("email", "role", "status"),
    [
        ("eve@example.org", "viewer", 409),
        ("nobody", "viewer", 400),
        ("a,b@example.org", "viewer", 400),
        ("n@example.org", "king", 400),
    ],
)
def test_what_is_wrong_with_an_invitation_is_said(site: Site, email: str, role: str, status: int) -> None:
    with policy_of(site, "invitation"):
        answer = site.signed_in().post("/api/v1/invitations", json={"email": email, "role": role})
        assert answer.status_code == status
