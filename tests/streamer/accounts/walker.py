"""Who walks the routes that change something, and what is made on the way."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from streamer import db
from streamer.accounts import apikeys, users
from streamer.accounts.tables import SecondFactor
from streamer.catalog import assets, playback_ids, versions
from streamer.catalog.tables import Policy
from streamer.events import relay
from streamer.jobs import jobs
from streamer.webhooks.tables import Delivery
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.accounts.test_second_factor import App
from tests.streamer.membership.postbox import letters, token
from tests.streamer.site_under_test import facts

TUS = {"Tus-Resumable": "1.0.0"}


@dataclass
class Walker:
    """Ada, who may do everything, and what she has made on her way."""

    site: Site
    monkeypatch: pytest.MonkeyPatch
    made: dict[str, str] = field(default_factory=dict)

    @cached_property
    def ada(self) -> httpx2.Client:
        """By her key, which outlives her sessions."""
        with db.session(self.site.services) as s:
            return self.site.bearer(apikeys.issue(s, users.find(s, "ada@example.org"), name="walk")[1])

    @cached_property
    def eve(self) -> httpx2.Client:
        return self.site.signed_in("eve@example.org")

    @cached_property
    def film(self) -> "Film":
        return Film.of(self.site)

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return self.ada.request(method, f"/api/v1{path}", **options)

    def keep(self, name: str, answer: httpx2.Response) -> httpx2.Response:
        """Remember the id of what was made."""
        self.made[name] = answer.json()["id"]
        return answer

    def linked(self, email: str) -> str:
        """The secret of the newest letter to somebody."""
        return token([letter for letter in letters(self.site.services) if letter["To"] == email][-1])

    def code(self) -> str:
        return self.app.code(self.monkeypatch)

    @cached_property
    def app(self) -> App:
        begun = self.eve.post("/api/v1/me/second-factor", json={"password": PASSWORD}).json()
        return App(begun["secret"])

    def enrolled(self) -> str:
        """A person who has a second factor by now."""
        user_id, now = self.made["user"], db.now()
        with db.session(self.site.services) as s:
            s.add(SecondFactor(user_id=user_id, secret="-", created_at=now, confirmed_at=now, last_step=0))
        return user_id

    def challenge(self) -> str:
        body = {"email": "eve@example.org", "password": PASSWORD}
        found: str = self.site.browser().post("/api/v1/session", json=body).json()["challenge"]
        return found

    def held(self, name: str) -> str:
        """An upload that waits for a decision: its bytes are a film's."""
        for _ in range(2):
            query = {"filename": f"{name}.mp4", "on_duplicate": "offer"}
            answer = self.ask("POST", "/uploads", params=query, content=name.encode())
        found: str = answer.json()["upload"]["id"]
        return found

    def delivered(self) -> str:
        relay.number_waiting(self.site.services)
        with db.reading(self.site.services) as s:
            return s.scalars(select(Delivery.id).limit(1)).one()


@dataclass(frozen=True)
class Film:
    """With two versions, both ready, the newer one live."""

    id: str
    older: str
    playback_id: str

    @classmethod
    def of(cls, site: Site) -> "Film":
        made = []
        with db.session(site.services) as s:
            asset = assets.create(s, users.find(s, "ada@example.org").id, "Film")
            playback = playback_ids.create(s, asset.id, Policy.PUBLIC)
            for number in range(2):
                source = versions.Source(f"sources/{asset.id}/upl_{number}", "f.mp4", 11, f"{number}b" * 32)
                made.append(versions.create(s, asset.id, source, made_by=asset.owner_id))
        for version in made:
            with db.session(site.services) as s:
                versions.publish(s, version.id, facts(f"{asset.id}/{version.id[-8:]}"))
        return cls(asset.id, made[0].id, playback.id)


def new_job(walker: Walker) -> str:
    with db.session(walker.site.services) as s:
        return jobs.enqueue(s, "mail", "ltr_1", max_attempts=1).id


def sign_in(walker: Walker) -> httpx2.Response:
    browser = walker.site.browser()
    answer = browser.post("/api/v1/session", json={"email": "vic@example.org", "password": PASSWORD})
    browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    walker.made["vic"] = answer.json()["user"]["id"]
    walker.__dict__["vic"] = browser
    return answer


def reset(walker: Walker) -> httpx2.Response:
    browser = walker.site.browser()
    browser.post("/api/v1/password-resets", json={"email": "vic@example.org"})
    body = {"token": walker.linked("vic@example.org"), "password": PASSWORD}
    return browser.post("/api/v1/password-resets/confirm", json=body)


def sign_up(walker: Walker) -> httpx2.Response:
    browser = walker.site.browser()
    browser.post("/api/v1/sign-ups", json={"email": "sue@example.org", "name": "Sue", "password": PASSWORD})
    return browser.post("/api/v1/confirmations", json={"token": walker.linked("sue@example.org")})


def accept(walker: Walker) -> httpx2.Response:
    walker.ask("POST", "/invitations", json={"email": "ivy@example.org", "role": "viewer"})
    body = {"token": walker.linked("ivy@example.org"), "name": "Ivy", "password": PASSWORD}
    return walker.site.browser().post("/api/v1/invitations/accept", json=body)


def own_password(walker: Walker) -> httpx2.Response:
    body = {"password": PASSWORD, "new_password": PASSWORD + "!"}
    vic: httpx2.Client = walker.__dict__["vic"]
    answer = vic.post("/api/v1/me/password", json=body)
    vic.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return answer


def other_session(walker: Walker) -> httpx2.Response:
    walker.site.signed_in("eve@example.org")
    rows = walker.eve.get("/api/v1/me/sessions").json()["data"]
    (other, *_) = (row["id"] for row in rows if not row["current"])
    return walker.eve.delete(f"/api/v1/me/sessions/{other}")


def other_sessions(walker: Walker) -> httpx2.Response:
    walker.site.signed_in("eve@example.org")
    return walker.eve.delete("/api/v1/me/sessions")


def kill(walker: Walker) -> httpx2.Response:
    body = {"playback_id": walker.film.playback_id}
    sid = walker.ask("POST", "/playback-sessions", json=body).json()["id"]
    return walker.ask("POST", f"/playback-sessions/{sid}/kill")


def endpoint(walker: Walker) -> httpx2.Response:
    body = {"url": "http://127.0.0.1:1/hook", "types": ["*"]}
    return walker.keep("endpoint", walker.ask("POST", "/webhook-endpoints", json=body))


def tus(walker: Walker) -> httpx2.Response:
    answer = walker.ask("POST", "/tus", headers={**TUS, "Upload-Length": "5"})
    walker.made["tus"] = answer.headers["location"].rpartition("/")[2]
    return answer
