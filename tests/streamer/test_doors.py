"""Default deny: every route of the API, asked by nobody and by somebody who may do nothing. A new route that forgets to ask fails here."""

from pathlib import Path

import httpx2
from starlette.routing import Mount, Route

from streamer import db, migrations
from streamer.accounts import apikeys, rolebook, users
from streamer.app import create_app
from tests.streamer.running import running
from tests.streamer.stack import make_config
from tests.web import NO_TLS

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
OWN = {  # what anybody with an account may ask, about themselves and their own things
    ("DELETE", "/session"),
    ("GET", "/me"),
    ("POST", "/me/verification"),
    ("POST", "/me/address"),
    ("GET", "/assets"),
    ("GET", "/jobs"),
    ("GET", "/api-keys"),
    ("POST", "/api-keys"),
    ("GET", "/uploads"),
    ("GET", "/collections"),
}


def test_nothing_is_answered_that_was_not_granted(tmp_path: Path, redis_url: str) -> None:
    config = make_config(tmp_path, database=f"sqlite:///{tmp_path}/streamer.db", redis=redis_url)
    app = create_app(config)
    migrations.upgrade(app.state.services.engine)
    with db.session(app.state.services) as s:
        rolebook.create(s, "nothing", [], None)
        weak = config.accounts.model_copy(update={"argon2_memory_kib": 64})
        user = users.create(s, weak, email="n@example.org", name="N", role="nothing", password="long enough")
        _, secret = apikeys.issue(s, user, name="k")
    mount = next(route for route in app.routes if isinstance(route, Mount) and route.path == "/api/v1")
    routes = {
        (method, route.path)
        for route in mount.routes
        if isinstance(route, Route)
        for method in (route.methods or ()) - {"HEAD"}
    }
    assert len(routes) > 50 and routes >= OPEN | OWN
    with running(app) as url, httpx2.Client(base_url=f"{url}/api/v1", timeout=20, verify=NO_TLS) as client:
        nobody = {route for route in routes if _ask(client, route) not in (401, 405)}
        bearer = {"Authorization": f"Bearer {secret}"}
        powerless = {route for route in routes - OPEN - OWN if _ask(client, route, bearer) not in (403, 404, 405)}
    assert nobody == OPEN
    assert powerless == set()


def _ask(client: httpx2.Client, route: tuple[str, str], headers: dict[str, str] | None = None) -> int:
    method, path = route
    path = path.replace("{id}", "ast_" + "0" * 20).replace("{", "").replace("}", "")
    return client.request(method, path, headers=headers).status_code
