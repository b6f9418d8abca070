"""Who may do what: every operation of the API, asked as nobody, with a key of each built-in role and with a narrowed one, about own and foreign things.

What is right follows from the accesses beside the routes and the roles' sets of permissions, by the rules that `expected` writes down a second time;
what comes from the server is compared with that. A short table by hand pins down what matters most, so that a wrong access does not pass as right.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import httpx2
from sqlalchemy.orm import Session

from streamer import db, ids
from streamer.accounts import apikeys, login_sessions, users
from streamer.accounts.roles import PERMISSIONS, Permission, Role
from streamer.accounts.tables import User
from streamer.app import api_routes, create_app
from streamer.catalog import assets, grants, playback_ids, versions
from streamer.catalog.collection_tables import Access as Level
from streamer.catalog.collection_tables import Collection, CollectionFilm
from streamer.catalog.tables import Policy
from streamer.catalog.versions import Source
from streamer.config import Config
from streamer.ingest import uploads
from streamer.ingest.tables import TusUpload, UploadState
from streamer.ingest.wanted import Wanted
from streamer.jobs import jobs
from streamer.operations import Access, Door, Operation, Owner
from streamer.services import Services
from tests.streamer.running import running
from tests.streamer.stack import config, database_url, migrated_mariadb, migrated_sqlite
from tests.web import NO_TLS

__all__ = ["config", "database_url", "migrated_mariadb", "migrated_sqlite"]

Verdict = Literal["in", 401, 403, 404]

NOBODY, NARROWED = "nobody", "narrowed"
SCOPE = Permission.ASSETS_READ
PASSWORD = "a good one"

OPEN = {
    ("POST", "/session"),  # signing in
    ("POST", "/session/second-factor"),
    ("POST", "/sign-ups"),
    ("POST", "/invitations/accept"),  # these have a link from a letter
    ("POST", "/confirmations"),
    ("POST", "/password-resets"),
    ("POST", "/password-resets/confirm"),
    ("POST", "/playback-sessions"),
    ("POST", "/playback-sessions/{id}/heartbeat"),
    ("DELETE", "/playback-sessions/{id}"),
    ("OPTIONS", "/tus"),
    ("OPTIONS", "/tus/{id}"),
    ("GET", "/openapi.json"),
}
ASKING_THEMSELVES = {"/uploads", "/assets/{id}/versions", "/tus", "/tus/{id}"}

OURS, THEIRS = True, False
PINNED: dict[tuple[str, str, str, bool], Verdict] = {
    ("GET", "/me", NOBODY, THEIRS): 401,
    ("GET", "/assets/{id}", NOBODY, THEIRS): 401,
    ("GET", "/assets/{id}", Role.VIEWER, THEIRS): "in",
    ("GET", "/assets/{id}", Role.BILLING, THEIRS): 404,
    ("GET", "/assets/{id}", Role.BILLING, OURS): "in",
    ("PATCH", "/assets/{id}", Role.VIEWER, THEIRS): 403,
    ("PATCH", "/assets/{id}", Role.BILLING, THEIRS): 404,
    ("PATCH", "/assets/{id}", Role.MODERATOR, THEIRS): "in",
    ("DELETE", "/assets/{id}", Role.MODERATOR, THEIRS): 403,
    ("DELETE", "/assets/{id}", Role.EDITOR, THEIRS): "in",
    ("DELETE", "/assets/{id}", Role.MEMBER, OURS): "in",
    ("DELETE", "/assets/{id}", NARROWED, OURS): 403,
    ("GET", "/assets/{id}/versions", Role.MEMBER, THEIRS): 403,
    ("POST", "/assets/{id}/playback-ids", Role.ANALYST, THEIRS): 403,
    ("POST", "/uploads", Role.VIEWER, THEIRS): 403,
    ("GET", "/uploads/{id}", Role.ADMIN, THEIRS): 404,
    ("PATCH", "/tus/{id}", Role.ADMIN, THEIRS): 404,
    ("PATCH", "/tus/{id}", Role.MEMBER, OURS): "in",
    ("DELETE", "/uploads/multipart/{id}", Role.ADMIN, THEIRS): 404,
    ("GET", "/jobs/{id}", Role.MEMBER, THEIRS): 404,
    ("POST", "/jobs/{id}/cancel", Role.ANALYST, THEIRS): 403,
    ("POST", "/jobs/{id}/cancel", Role.MEMBER, OURS): "in",
    ("GET", "/collections/{id}", Role.VIEWER, THEIRS): 404,
    ("GET", "/collections/{id}", Role.ANALYST, THEIRS): "in",
    ("POST", "/collections/{id}/grants", Role.ANALYST, THEIRS): 403,
    ("POST", "/collections/{id}/grants", NARROWED, OURS): 403,
    ("GET", "/users", Role.BILLING, THEIRS): "in",
    ("GET", "/plans", Role.BILLING, THEIRS): "in",
    ("PUT", "/users/{id}/plan", Role.BILLING, THEIRS): "in",
    ("PUT", "/users/{id}/plan", Role.EDITOR, THEIRS): 403,
    ("GET", "/users/{id}/plan", Role.MODERATOR, THEIRS): 403,
    ("POST", "/users", Role.MODERATOR, THEIRS): 403,
    ("GET", "/roles", Role.EDITOR, THEIRS): 403,
    ("GET", "/audit", Role.EDITOR, THEIRS): 403,
    ("GET", "/events", Role.ANALYST, THEIRS): "in",
    ("POST", "/webhook-endpoints", Role.ANALYST, THEIRS): 403,
    ("POST", "/playback-sessions/{id}/kill", Role.ANALYST, THEIRS): 403,
    ("POST", "/api-keys", NARROWED, THEIRS): 403,
    ("DELETE", "/api-keys/{id}", Role.EDITOR, THEIRS): 404,
    ("DELETE", "/api-keys/{id}", Role.ADMIN, THEIRS): "in",
    ("DELETE", "/session", Role.ADMIN, THEIRS): 403,
    ("POST", "/me/password", Role.ADMIN, THEIRS): 403,
}


@dataclass(frozen=True)
class Person:
    """Who asks; what they may do comes from the role's set, or is the one scope of a narrowed key."""

    name: str
    permissions: frozenset[Permission]
    user: User | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def narrowed(self) -> bool:
        return self.name == NARROWED


def expected(access: Access, who: Person, mine: bool, *, in_person: bool = False) -> Verdict:
    """The rules of `doors` in other words."""
    if access.door is Door.OPEN:
        return "in"
    if who.name == NOBODY:
        return 401
    if access.door in (Door.PERSON, Door.ENROLLING) and not in_person:
        return 403
    if access.door is Door.WHOLE and who.narrowed:
        return 403
    has = access.permission is None or access.permission in who.permissions
    if access.owner is Owner.NONE:
        return "in" if has else 403
    if access.owner is Owner.ONLY:
        return 403 if not has else "in" if mine else 404
    if mine:
        return 403 if access.owner is Owner.WHOLLY and who.narrowed and not has else "in"
    if access.seen not in who.permissions:
        return 404
    return "in" if has else 403


def test_everybody_may_do_what_their_permissions_say_and_nothing_else(config: Config) -> None:
    with asking(config) as ask:
        people = ask.people()
        owners = [next(one.user for one in people if one.name == name) for name in (Role.ADMIN, Role.EDITOR)]
        told: dict[tuple[str, str, str, bool], Verdict] = {}
        right: dict[tuple[str, str, str, bool], Verdict] = {}
        for method, path, operation in operations():
            for who in people:
                for mine in (OURS, THEIRS) if operation.access.owner is not Owner.NONE else (THEIRS,):
                    other = owners[0] if who.user is None or who.user.id != owners[0].id else owners[1]
                    if mine and who.user is None:
                        continue
                    cell = (method, path, who.name, mine)
                    told[cell] = ask(operation, path, who, who.user if mine and who.user else other)
                    right[cell] = expected(operation.access, who, mine)
    assert {cell: (told[cell], right[cell]) for cell in right if told[cell] != right[cell]} == {}
    assert {cell: told[cell] for cell in PINNED} == PINNED
    assert len(right) > 1000


def test_what_is_done_in_person_needs_a_session_and_no_permission(config: Config) -> None:
    with asking(config) as ask:
        people = [one for one in ask.people() if one.name in (Role.VIEWER, Role.ADMIN)]
        wrong = {}
        for method, path, operation in operations():
            if operation.access.door not in (Door.PERSON, Door.ENROLLING):
                continue
            for who, other in (people, people[::-1]):
                for mine in (OURS, THEIRS) if operation.access.owner is Owner.ONLY else (OURS,):
                    owner = who.user if mine else other.user
                    assert owner is not None
                    told = ask(operation, path, ask.in_person(who), owner)
                    if told != expected(operation.access, who, mine, in_person=True):
                        wrong[(method, path, who.name, mine)] = told
    assert wrong == {}


def test_what_is_open_and_what_has_no_lock_of_its_own_is_written_here_too() -> None:
    assert {(method, path) for method, path, one in operations() if one.access.door is Door.OPEN} == OPEN
    unlocked = {route.path for route in api_routes() if not hasattr(route.endpoint, "__wrapped__")}
    assert unlocked == ASKING_THEMSELVES


def operations() -> Iterator[tuple[str, str, Operation]]:
    for route in api_routes():
        for operation in route.operations:
            yield operation.method, route.path, operation


@dataclass
class Asking:
    """Asks a running server; makes what is asked about."""

    services: Services
    client: httpx2.Client

    def __call__(self, operation: Operation, path: str, who: Person, owner: User) -> Verdict:
        place = path.format(**self._things(path, operation, owner))
        headers = dict(who.headers)
        if path.startswith("/tus"):
            told = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": operation.file}
            headers |= {**told, "X-HTTP-Method-Override": "PATCH"}
            answer = self.client.request(operation.method, place, headers=headers)
        else:
            body = {"numbers": [1]} if path.endswith("/parts") else {}
            sent = None if operation.method in ("GET", "DELETE") else body
            answer = self.client.request(operation.method, place, headers=headers, json=sent)
        assert answer.status_code < 500 or answer.status_code == 501, answer.text
        if answer.status_code == 404 and operation.access.owner is Owner.NONE:
            return "in"  # there is no such thing, and they may know
        return answer.status_code if answer.status_code in (401, 403, 404) else "in"  # type: ignore[return-value]

    def people(self) -> list[Person]:
        """Nobody, one of each role, and the administrator's key that may only read films."""
        return [Person(NOBODY, frozenset()), *(self._hired(role) for role in Role), self._narrowed()]

    def in_person(self, who: Person) -> Person:
        """The same with a new session."""
        assert who.user is not None
        opened = self.client.post("/session", json={"email": who.user.email, "password": PASSWORD})
        self.client.cookies.clear()  # each request shows its own
        cookie, token = f"session={opened.cookies['session']}", opened.json()["csrf_token"]
        proof = (("Cookie", cookie), ("X-CSRF-Token", token), ("Sec-Fetch-Site", "same-origin"))
        return Person(who.name, who.permissions, who.user, proof)

    def _hired(self, role: Role) -> Person:
        with db.session(self.services) as s:
            accounts, email = self.services.config.accounts, f"{role}@example.org"
            user = users.create(s, accounts, email=email, name=role, role=role, password=PASSWORD)
            _, secret = apikeys.issue(s, user, name="whole")
        return Person(role, PERMISSIONS[role], user, (("Authorization", f"Bearer {secret}"),))

    def _narrowed(self) -> Person:
        with db.session(self.services) as s:
            user = users.find(s, f"{Role.ADMIN}@example.org")
            _, secret = apikeys.issue(s, user, name="narrow", scopes=[SCOPE])
        return Person(NARROWED, frozenset({SCOPE}), user, (("Authorization", f"Bearer {secret}"),))

    def _things(self, path: str, operation: Operation, owner: User) -> dict[str, str]:
        """What stands in the path: a thing of this owner, where it matters whose it is."""
        names = {"id": ids.new("ast"), "version_id": ids.new("ver"), "playback_id": ids.new("plb")}
        names |= {"delivery_id": ids.new("dlv"), "name": "name", "provider": "name"}
        if operation.access.owner is Owner.NONE or "{" not in path:
            return names
        if path.startswith("/me/sessions"):
            return {"id": login_sessions.start(self.services, owner.id, user_agent="", address="")[0]}
        with db.session(self.services) as s:
            if path.startswith("/api-keys"):
                return {"id": apikeys.issue(s, owner, name="k")[0].id}
            if path.startswith("/collections"):
                return _collection(s, owner)
            if path.startswith(("/uploads", "/tus")):
                return {"id": self._upload(s, owner, path)}
            asset = assets.create(s, owner.id, "Film")
            version = versions.create(s, asset.id, Source(f"sources/{asset.id}", "film.mp4", 11, "ab" * 32))
            job = jobs.enqueue(s, "transcode", version.id, owner_id=owner.id, max_attempts=3)
            playback = playback_ids.create(s, asset.id, Policy.PRIVATE)
            film = {"id": asset.id, "version_id": version.id, "playback_id": playback.id}
            return {"id": job.id} if path.startswith("/jobs") else film

    def _upload(self, s: Session, owner: User, path: str) -> str:
        """One that is on its way by tus or in parts, else one that is held back."""
        resumable, in_parts = path.startswith("/tus"), path.startswith("/uploads/multipart")
        upload = uploads.add(s, owner.id, Wanted("film.mp4", "Film", Policy.PRIVATE, 11))
        if resumable:
            self.services.uploads.create(upload.id, upload.source_key)
        elif not in_parts:
            upload.state, upload.sha256 = UploadState.HELD, "ab" * 32
        if resumable or in_parts:
            part = 5 << 20 if in_parts else None
            s.add(TusUpload(id=upload.id, title="Film", policy=Policy.PRIVATE, part_size=part))
        return upload.id


def _collection(s: Session, owner: User) -> dict[str, str]:
    """One with a film, and grants for its owner, as it is made, and for nobody."""
    asset, moment = assets.create(s, owner.id, "Film"), db.now()
    row = Collection(
        id=ids.new("col"), owner_id=owner.id, name="C", description="", created_at=moment, updated_at=moment
    )
    s.add(row)
    s.flush()
    s.add(CollectionFilm(collection_id=row.id, asset_id=asset.id, place=1, added_by=owner.id, added_at=moment))
    grants.add(s, row.id, owner.id, Level.MANAGE)
    grant = grants.add(s, row.id, ids.new("usr"), Level.VIEW)
    return {"id": row.id, "asset_id": asset.id, "grant_id": grant.id}


@contextmanager
def asking(config: Config) -> Iterator[Asking]:
    """A server on the database of `config`, without budgets: nobody in real life asks everything at once."""
    limits = {name: 0 for name in type(config.limits).model_fields if name != "window_s"}
    app = create_app(config.model_copy(update={"limits": config.limits.model_copy(update=limits)}))
    with running(app) as url, httpx2.Client(base_url=f"{url}/api/v1", timeout=60, verify=NO_TLS) as client:
        yield Asking(app.state.services, client)
