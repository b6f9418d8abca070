"""No change without its line: every route of the API that changes something is walked, and the audit log looked at after each.

A new route fails here until it has a step below, or a reason for having none.
"""

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from starlette.routing import Mount

from admin.views.audit_words import ACTIONS
from streamer.accounts import audit_chain
from streamer.app import create_app
from streamer.config import Config
from streamer.operations import ApiRoute
from tests.streamer.accounts.conftest import PASSWORD, Site
from tests.streamer.accounts.walker import (
    TUS,
    Walker,
    accept,
    endpoint,
    kill,
    new_job,
    other_session,
    other_sessions,
    own_password,
    reset,
    sign_in,
    sign_up,
    tus,
)
from tests.streamer.stack import empty_tables, make_config

UNTOLD = {
    "POST /me/second-factor": "nothing asks for its codes before they are confirmed, which is told",
    "POST /sign-ups": "there is no account before the letter's link is used, which is told",
    "POST /password-resets": "a letter; the new password is told",
    "POST /me/verification": "a letter; the proof is told",
    "POST /me/address": "a letter; the new address is told",
    "PATCH /tus/{id}": "bytes of an upload whose beginning and end are told",
    "POST /tus/{id}": "stands for another method, for clients that have only POST",
    "POST /uploads/multipart": "needs S3; begins and ends with the functions of tus, which are told",
    "DELETE /uploads/multipart/{id}": "needs S3; as above",
    "POST /uploads/multipart/{id}/parts": "signs addresses for bytes, as PATCH of tus takes them",
    "POST /uploads/multipart/{id}/complete": "needs S3; as above",
    "DELETE /me/providers/{id}": "needs a provider; tests/streamer/membership/test_oidc.py looks for its line",
    "POST /playback-sessions": "watching changes nothing; sessions are rows of their own, with who, what and when",
    "DELETE /playback-sessions/{id}": "the end of watching",
    "POST /playback-sessions/{id}/heartbeat": "watching",
}
"""Routes that leave no line, and why."""


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One database is enough: what is asked is whether a line was written at all."""
    return empty_tables(request, "sqlite", tmp_path)


@pytest.fixture
def config(tmp_path: Path, database_url: str, redis_url: str) -> Config:
    weak = {"argon2_time": 1, "argon2_memory_kib": 64, "argon2_lanes": 1, "sign_up": "open"}
    quiet = {"min_free_bytes": 0, "glance": False}
    outbound = {"allow_http": True, "allow_private": True}
    return make_config(tmp_path, database=database_url, redis=redis_url, accounts=weak, ingest=quiet, outbound=outbound)


def test_every_route_that_changes_something_is_walked_or_excused(config: Config) -> None:
    (api,) = (route for route in create_app(config).routes if isinstance(route, Mount) and route.path == "/api/v1")
    operations = [(route.path, one) for route in api.routes if isinstance(route, ApiRoute) for one in route.operations]
    changing = {f"{one.method} {path}" for path, one in operations if one.method not in ("GET", "HEAD", "OPTIONS")}
    assert changing == {*WALK, *UNTOLD}


def test_every_change_that_succeeds_leaves_a_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    walker, asked = Walker(site, monkeypatch), {}
    for route, step in WALK.items():
        answer = step(walker)
        assert answer.status_code < 300, (route, answer.text)
        asked[route] = answer.headers["x-request-id"]
    told = {entry.request_id for entry in audit_chain.walk(site.services)}
    assert [route for route, request_id in asked.items() if request_id not in told] == []
    assert {entry.action for entry in audit_chain.walk(site.services)} <= ACTIONS.keys()
    audit_chain.verify(site.services)


Step = Callable[[Walker], httpx2.Response]

WALK: dict[str, Step] = {
    "POST /session": sign_in,
    "POST /me/password": own_password,
    "DELETE /session": lambda w: w.__dict__["vic"].delete("/api/v1/session"),
    "POST /password-resets/confirm": reset,
    "POST /users": lambda w: w.keep(
        "user",
        w.ask("POST", "/users", json={"email": "n@example.org", "name": "N", "role": "viewer", "password": PASSWORD}),
    ),
    "PATCH /users/{id}": lambda w: w.ask("PATCH", f"/users/{w.made['user']}", json={"role": "member"}),
    "DELETE /users/{id}/second-factor": lambda w: w.ask("DELETE", f"/users/{w.enrolled()}/second-factor"),
    "POST /plans": lambda w: w.keep("plan", w.ask("POST", "/plans", json={"name": "P"})),
    "PATCH /plans/{id}": lambda w: w.ask("PATCH", f"/plans/{w.made['plan']}", json={"encode_priority": 2}),
    "PUT /users/{id}/plan": lambda w: w.ask("PUT", f"/users/{w.made['user']}/plan", json={"plan_id": w.made["plan"]}),
    "DELETE /users/{id}": lambda w: w.ask("DELETE", f"/users/{w.made['user']}"),
    "DELETE /plans/{id}": lambda w: w.ask("DELETE", f"/plans/{w.made['plan']}"),
    "POST /api-keys": lambda w: w.keep("key", w.ask("POST", "/api-keys", json={"name": "k"})),
    "DELETE /api-keys/{id}": lambda w: w.ask("DELETE", f"/api-keys/{w.made['key']}"),
    "POST /roles": lambda w: w.ask("POST", "/roles", json={"name": "night", "permissions": []}),
    "PATCH /roles/{name}": lambda w: w.ask("PATCH", "/roles/night", json={"permissions": ["any:jobs:read"]}),
    "DELETE /roles/{name}": lambda w: w.ask("DELETE", "/roles/night"),
    "DELETE /me/sessions/{id}": other_session,
    "DELETE /me/sessions": other_sessions,
    "POST /me/second-factor/confirm": lambda w: w.eve.post("/api/v1/me/second-factor/confirm", json={"code": w.code()}),
    "POST /session/second-factor": lambda w: w.site.browser().post(
        "/api/v1/session/second-factor", json={"challenge": w.challenge(), "code": w.code()}
    ),
    "POST /me/second-factor/recovery-codes": lambda w: w.eve.post(
        "/api/v1/me/second-factor/recovery-codes", json={"code": w.code()}
    ),
    "POST /me/second-factor/off": lambda w: w.eve.post("/api/v1/me/second-factor/off", json={"code": w.code()}),
    "POST /invitations": lambda w: w.keep(
        "invitation", w.ask("POST", "/invitations", json={"email": "i@example.org", "role": "viewer"})
    ),
    "DELETE /invitations/{id}": lambda w: w.ask("DELETE", f"/invitations/{w.made['invitation']}"),
    "POST /invitations/accept": accept,
    "POST /confirmations": sign_up,
    "POST /jobs/{id}/cancel": lambda w: w.ask("POST", f"/jobs/{w.made.setdefault('job', new_job(w))}/cancel"),
    "POST /jobs/{id}/retry": lambda w: w.ask("POST", f"/jobs/{w.made['job']}/retry"),
    "POST /workers/{name}/pause": lambda w: w.ask("POST", "/workers/here/pause"),
    "POST /workers/{name}/resume": lambda w: w.ask("POST", "/workers/here/resume"),
    "POST /uploads": lambda w: w.ask("POST", "/uploads", params={"filename": "f.mp4"}, content=b"film"),
    "POST /imports": lambda w: w.ask("POST", "/imports", json={"url": "http://127.0.0.1:1/f.mp4"}),
    "POST /uploads/{id}/keep": lambda w: w.ask("POST", f"/uploads/{w.held('kept')}/keep"),
    "POST /uploads/{id}/discard": lambda w: w.ask("POST", f"/uploads/{w.held('dropped')}/discard"),
    "POST /tus": tus,
    "DELETE /tus/{id}": lambda w: w.ask("DELETE", f"/tus/{w.made['tus']}", headers=TUS),
    "POST /collections": lambda w: w.keep("collection", w.ask("POST", "/collections", json={"name": "C"})),
    "PATCH /collections/{id}": lambda w: w.ask("PATCH", f"/collections/{w.made['collection']}", json={"name": "D"}),
    "POST /collections/{id}/films": lambda w: w.ask(
        "POST", f"/collections/{w.made['collection']}/films", json={"asset_id": w.film.id}
    ),
    "PATCH /collections/{id}/films/{asset_id}": lambda w: w.ask(
        "PATCH", f"/collections/{w.made['collection']}/films/{w.film.id}", json={"place": 1}
    ),
    "DELETE /collections/{id}/films/{asset_id}": lambda w: w.ask(
        "DELETE", f"/collections/{w.made['collection']}/films/{w.film.id}"
    ),
    "POST /collections/{id}/grants": lambda w: w.keep(
        "grant",
        w.ask("POST", f"/collections/{w.made['collection']}/grants", json={"role": "viewer", "access": "view"}),
    ),
    "DELETE /collections/{id}/grants/{grant_id}": lambda w: w.ask(
        "DELETE", f"/collections/{w.made['collection']}/grants/{w.made['grant']}"
    ),
    "DELETE /collections/{id}": lambda w: w.ask("DELETE", f"/collections/{w.made['collection']}"),
    "PATCH /assets/{id}": lambda w: w.ask("PATCH", f"/assets/{w.film.id}", json={"title": "Other"}),
    "POST /assets/{id}/playback-ids": lambda w: w.keep(
        "playback", w.ask("POST", f"/assets/{w.film.id}/playback-ids", json={})
    ),
    "DELETE /assets/{id}/playback-ids/{playback_id}": lambda w: w.ask(
        "DELETE", f"/assets/{w.film.id}/playback-ids/{w.made['playback']}"
    ),
    "POST /playback-sessions/{id}/kill": kill,
    "POST /assets/{id}/versions": lambda w: w.keep(
        "version", w.ask("POST", f"/assets/{w.film.id}/versions", json={"max_short_side": 360})
    ),
    "POST /assets/{id}/versions/{version_id}/publish": lambda w: w.ask(
        "POST", f"/assets/{w.film.id}/versions/{w.film.older}/publish"
    ),
    "DELETE /assets/{id}/versions/{version_id}": lambda w: w.ask(
        "DELETE", f"/assets/{w.film.id}/versions/{w.made['version']}"
    ),
    "POST /webhook-endpoints": endpoint,
    "PATCH /webhook-endpoints/{id}": lambda w: w.ask(
        "PATCH", f"/webhook-endpoints/{w.made['endpoint']}", json={"description": "d"}
    ),
    "POST /webhook-endpoints/{id}/rotate-secret": lambda w: w.ask(
        "POST", f"/webhook-endpoints/{w.made['endpoint']}/rotate-secret", json={}
    ),
    "POST /webhook-endpoints/{id}/ping": lambda w: w.ask("POST", f"/webhook-endpoints/{w.made['endpoint']}/ping"),
    "POST /webhook-endpoints/{id}/replay": lambda w: w.ask(
        "POST", f"/webhook-endpoints/{w.made['endpoint']}/replay", json={"after": 0}
    ),
    "POST /webhook-endpoints/{id}/deliveries/{delivery_id}/resend": lambda w: w.ask(
        "POST", f"/webhook-endpoints/{w.made['endpoint']}/deliveries/{w.delivered()}/resend"
    ),
    "DELETE /webhook-endpoints/{id}": lambda w: w.ask("DELETE", f"/webhook-endpoints/{w.made['endpoint']}"),
    "DELETE /me": lambda w: w.site.signed_in("eve@example.org").request(
        "DELETE", "/api/v1/me", json={"password": PASSWORD}
    ),
    "DELETE /assets/{id}": lambda w: w.ask("DELETE", f"/assets/{w.film.id}"),
}
"""A step for each route, in an order in which they can be taken."""
