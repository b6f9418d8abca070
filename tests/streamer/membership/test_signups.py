"""Signing up: no account before its address is proved, and no word about who has one."""

from sqlalchemy import func, select

from streamer import db
from streamer.accounts.tables import User
from streamer.jobs.tables import Job
from tests.streamer.accounts.conftest import Site
from tests.streamer.membership.postbox import letters, policy_of, token

NORA = {"email": "Nora@Example.org", "name": "Nora", "password": "a password of mine"}


def people(site: Site) -> int:
    with db.reading(site.services) as s:
        return s.scalar(select(func.count()).select_from(User)) or 0


def test_an_account_is_made_when_its_address_is_proved_and_not_before(site: Site) -> None:
    browser = site.browser()
    with policy_of(site, "open", sign_up_role="member"):
        assert browser.post("/api/v1/sign-ups", json=NORA).status_code == 202
        (letter,) = letters(site.services)
        assert people(site) == 3 and letter["To"] == "nora@example.org"
        answer = browser.post("/api/v1/confirmations", json={"token": token(letter)})
        assert (answer.status_code, answer.json()["confirmed"]) == (200, "sign_up")
        again = browser.post("/api/v1/confirmations", json={"token": token(letter)})
        assert (again.status_code, again.json()["code"]) == (410, "link_invalid")
    credentials = {"email": "nora@example.org", "password": NORA["password"]}
    assert browser.post("/api/v1/session", json=credentials).json()["user"]["role"] == "member"


def test_an_address_that_is_taken_gets_the_same_answer_and_another_letter(site: Site) -> None:
    with policy_of(site, "open"):
        answers = [
            site.browser().post("/api/v1/sign-ups", json={**NORA, "email": email})
            for email in ("nora@example.org", "ada@example.org")
        ]
        assert answers[0].status_code == answers[1].status_code == 202
        assert answers[0].content == answers[1].content
        _, taken = letters(site.services)
        assert taken["To"] == "ada@example.org" and "There is one already" in taken.get_content()
        assert "token=" not in taken.get_content()


def test_nothing_of_it_stays_in_its_job(site: Site) -> None:
    with policy_of(site, "open"):
        site.browser().post("/api/v1/sign-ups", json=NORA)
        secret = token(letters(site.services)[0])
    with db.reading(site.services) as s:
        (job,) = s.scalars(select(Job)).all()
        assert job.payload == {} and job.state == "succeeded"
        kept = repr([row.__dict__ for row in (*s.scalars(select(Job)), *s.scalars(select(User)))])
    assert secret not in kept


def test_nobody_signs_up_where_it_is_not_open(site: Site) -> None:
    for policy in ("closed", "invitation"):
        with policy_of(site, policy):
            answer = site.browser().post("/api/v1/sign-ups", json=NORA)
        assert (answer.status_code, answer.json()["code"]) == (403, "sign_up_closed")
    with policy_of(site, "open"):
        site.browser().post("/api/v1/sign-ups", json=NORA)
        secret = token(letters(site.services)[0])
    late = site.browser().post("/api/v1/confirmations", json={"token": secret})
    assert late.status_code == 403 and people(site) == 3


def test_what_is_wrong_is_said_before_any_letter(site: Site) -> None:
    with policy_of(site, "open"):
        for change, pointer in (
            ({"email": "nora"}, "/email"),
            ({"email": "a@b.c\r\nBcc: d@e.f"}, "/email"),
            ({"name": "two\nlines"}, "/name"),
            ({"password": "short"}, "/password"),
        ):
            answer = site.browser().post("/api/v1/sign-ups", json={**NORA, **change})
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
    assert letters(site.services) == []


def test_letters_are_counted_whether_the_address_is_known_or_not(site: Site) -> None:
    most = site.services.config.accounts.letters
    for email in ("ada@example.org", "unknown@example.org"):
        answers = [site.browser().post("/api/v1/password-resets", json={"email": email}) for _ in range(most + 1)]
        assert [answer.status_code for answer in answers] == [202] * most + [429]
        assert int(answers[-1].headers["retry-after"]) >= 1


def test_another_site_can_not_make_a_visitor_ask_for_letters(site: Site) -> None:
    stranger = site.client({"Sec-Fetch-Site": "cross-site"})
    for path, body in (("sign-ups", NORA), ("password-resets", {"email": "ada@example.org"})):
        assert stranger.post(f"/api/v1/{path}", json=body).json()["code"] == "foreign_origin"
    assert letters(site.services) == []
