"""The whole web application behind a real uvicorn, with accounts to ask it as."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from streamer import db
from streamer.accounts import apikeys, users
from streamer.accounts.tables import User
from streamer.app import create_app
from streamer.catalog import assets, playback_ids, versions
from streamer.catalog.tables import Asset, Policy, Version
from streamer.catalog.versions import Facts, RenditionFacts, Source
from streamer.config import Config
from streamer.jobs import jobs
from streamer.jobs.tables import Job
from streamer.services import Services
from tests.streamer.running import running
from tests.web import NO_TLS


@dataclass
class Site:
    """`as_(role)` is a client with a bearer key of that role's only user."""

    services: Services
    base: str
    stack: ExitStack
    people: dict[str, tuple[User, httpx2.Client]] = field(default_factory=dict)

    def as_(self, role: str, *, name: str = "", scopes: tuple[str, ...] = ("*",)) -> httpx2.Client:
        return self._person(role, name or role, scopes)[1]

    def user(self, role: str, *, name: str = "") -> User:
        return self._person(role, name or role, ("*",))[0]

    def film(self, owner: User, title: str = "Film", *, policy: Policy = Policy.PRIVATE) -> tuple[Asset, Version, Job]:
        """An uploaded film whose encode waits."""
        with db.session(self.services) as s:
            asset = assets.create(s, owner.id, title)
            version = versions.create(s, asset.id, Source(f"sources/{asset.id}/upl_1", "film.mp4", 11, "ab" * 32))
            playback_ids.create(s, asset.id, policy)
            job = jobs.enqueue(s, "transcode", version.id, owner_id=owner.id, max_attempts=3)
        return asset, version, job

    def publish(self, version: Version, job: Job, *, path: str | None = None) -> None:
        """What the transcode job does at its end."""
        with db.session(self.services) as s:
            claim = jobs.claim(s, job.id, "w1", 20)
            assert claim is not None
            versions.publish(s, version.id, facts(path or f"{version.asset_id}/abc"))
            jobs.finish(s, claim)

    def _person(self, role: str, name: str, scopes: tuple[str, ...]) -> tuple[User, httpx2.Client]:
        label = f"{name} {scopes}"
        if label not in self.people:
            self.people[label] = self._hire(role, name, scopes)
        return self.people[label]

    def _hire(self, role: str, name: str, scopes: tuple[str, ...]) -> tuple[User, httpx2.Client]:
        email = f"{name}@example.org"
        with db.session(self.services) as s:
            known = [user for label, (user, _) in self.people.items() if user.email == email]
            config = self.services.config.accounts
            user = (
                known[0] if known else users.create(s, config, email=email, name=name, role=role, password="a good one")
            )
            _, secret = apikeys.issue(s, user, name="test", scopes=scopes)
        headers = {"authorization": f"Bearer {secret}"}
        return user, self.stack.enter_context(
            httpx2.Client(base_url=f"{self.base}/api/v1", headers=headers, timeout=30, verify=NO_TLS)
        )


def facts(path: str, **changes: Any) -> Facts:
    """A small package."""
    renditions = (
        RenditionFacts("audio", "a1-48k", "mp4a.40.2", 50_000, 48_000, 700, language="en"),
        RenditionFacts("video", "v360-365k", "avc1.64001e", 400_000, 365_000, 5_000, 640, 360, "30000/1001"),
        RenditionFacts("video", "v720-3000k", "avc1.64001f", 3_300_000, 3_000_000, 50_000, 1280, 720, "30000/1001"),
    )
    told = {"duration_s": 12.5, "width": 1280, "height": 720, "poster": True, "report": {"x": "ü"}}
    return Facts(path=path, renditions=renditions, **{**told, **changes})


@pytest.fixture
def site(services: Services, config: Config) -> Iterator[Site]:
    """A running server on the same database, Valkey and folder as `services`."""
    with ExitStack() as stack:
        base = stack.enter_context(running(create_app(config)))
        yield Site(services, base, stack)
