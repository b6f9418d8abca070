"""Stored and reflected markup in every text that people can write, on every page there is: it is shown, and nothing of it happens.

One browser that is signed in and one that is not, the running product, a text that would raise `window.__canary`, ask another host or violate the
page policy (`Visitor.check` fails for each). The pages are those of the routers: a new one is looked at as soon as it has a route.
"""

from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Browser
from starlette.routing import Mount, Route

from admin import app as admin_app
from streamer import db
from streamer.accounts import apikeys, audit, login_sessions, users
from streamer.app import create_app
from streamer.catalog.tables import Asset, Processing, Rendition, Version
from streamer.jobs import jobs
from streamer.jobs.tables import State
from streamer.site import films as site_films
from streamer.site import reference
from tests.admin.rows import put_film
from tests.house import EMAIL, House, Visitor, visit
from tests.web import NO_TLS

CANARY = "\"'></title></script><img src=//canary.test/i onerror=__canary=1><script>__canary=1</script><b x-init=__canary=1>{{191*49}}"
SHORT = '"><script>__canary=1</script>'
ERROR = {"code": CANARY, "title": CANARY, "detail": CANARY, "retryable": True, "attempt": 1, "next_retry_at": None}
EVALUATED = "9359"


@pytest.fixture(scope="module")
def planted(house: House) -> Iterator[dict[str, str]]:
    """A canary in every text; where each of them is, by the name of the path parameter's page."""
    asset_id, version_id, playback_id = put_film(house, CANARY, "errored", source_name=CANARY, error=ERROR)
    ready_id, ready_version, _ = put_film(house, CANARY, "ready", source_name=CANARY)
    with db.session(house.services) as s:
        ada = users.find(s, EMAIL)
        person = users.create(
            s,
            house.services.config.accounts,
            email="bird@example.org",
            name=CANARY,
            role="viewer",
            password="long enough",
        )
        apikeys.issue(s, ada, name=CANARY)
        s.add(_rendition(ready_version))
        s.get_one(Asset, ready_id).live_version_id = ready_version
        s.get_one(Version, ready_version).processing = Processing.READY
        job = jobs.enqueue(s, "encode", version_id, max_attempts=1, owner_id=ada.id)
        job.state, job.error = State.FAILED, ERROR
        audit.record(s, "canary", person.id, before={"name": CANARY}, after={"name": CANARY})
        ada_id, person_id = ada.id, person.id
    login_sessions.start(house.services, ada_id, user_agent=CANARY, address=SHORT)
    with house.api() as api:
        hook = api.post("/webhook-endpoints", json={"url": f"https://127.0.0.1/?x={SHORT}", "description": CANARY})
        assert hook.status_code in (201, 400), hook.text
        if hook.status_code == 400:  # then an address can't carry it
            hook = api.post("/webhook-endpoints", json={"url": "https://127.0.0.1/", "description": CANARY})
        collection = api.post("/collections", json={"name": CANARY, "description": CANARY}).json()["id"]
        for one in (asset_id, ready_id):
            assert api.post(f"/collections/{collection}/films", json={"asset_id": one}).status_code == 201
        granted = {"user_id": person_id, "access": "manage"}
        assert api.post(f"/collections/{collection}/grants", json=granted).status_code == 201
        plan = api.post("/plans", json={"name": CANARY}).json()["id"]
        assert api.put(f"/users/{person_id}/plan", json={"plan_id": plan}).status_code == 200
        assert api.post("/roles", json={"name": SHORT, "permissions": []}).status_code == 400
        assert api.post("/roles", json={"name": "canary-watch", "permissions": []}).status_code == 201
        invited = api.post("/invitations", json={"email": "'x'@example.org", "role": "viewer"})
        assert invited.status_code == 201, invited.text
        tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Metadata": f"filename {_base64(CANARY)}"}
        assert api.post("/tus", headers=tus).status_code == 201
    yield {
        "/admin/assets/{id}": asset_id,
        "/admin/people/{id}": person_id,
        "/admin/collections/{id}": collection,
        "/admin/plans/{id}": plan,
        "/admin/roles/{name}": "canary-watch",
        "/admin/sign-in/{provider}": "nobody",
        "/admin/sign-in/{provider}/callback": "nobody",
        "/admin/webhooks/{id}": hook.json()["id"],
        "/watch/{playback_id}": playback_id,
        "/watch/{playback_id}/state": playback_id,
        "/docs/{tag}": "assets",
        "ready": ready_id,
    }
    with house.api() as api:
        api.delete(f"/webhook-endpoints/{hook.json()['id']}")  # other tests begin with none


def _rendition(version_id: str) -> Rendition:
    return Rendition(
        id=f"rnd_{version_id[4:]}", version_id=version_id, kind="text", name=SHORT, codecs=SHORT, bandwidth=1,
        average_bandwidth=1, language=SHORT, size=1,
    )  # fmt: skip


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _pages(house: House, planted: dict[str, str]) -> Iterator[str]:
    """Every page there is, with what the canary sits in, and once more with a canary for each parameter."""
    routes = [*admin_app.create(house.services), *site_films.routes, *reference.routes]
    for path in sorted({route.path for route in routes if "GET" in (route.methods or ())}):
        before, _, parameter = path.partition("{")
        after = parameter.partition("}")[2]
        yield before + (planted[path] if parameter else "") + after
        if parameter:
            yield before + quote(CANARY, safe="") + after
    yield f"/admin/assets/{planted['ready']}"
    query = quote(CANARY)
    yield from (
        f"{path}?q={query}&next={query}&done={query}&token={query}&cursor={query}&kind={query}" for path in REFLECTING
    )


REFLECTING = (
    "/",
    "/admin",
    "/admin/sign-in",
    "/admin/sign-up",
    "/admin/confirm",
    "/admin/reset",
    "/admin/people",
    "/admin/webhooks",
)
_WHAT_HAPPENED = """[window.__canary, window.__violations, document.documentElement.outerHTML,
    document.querySelectorAll("script:not([src]):not([type='application/json'])").length]"""
_REFUSED = "Failed to load resource: the server responded with a status of"


def _look(visitor: Visitor, pages: list[str]) -> None:
    for path in pages:
        visitor.page.goto(visitor.url + path, wait_until="load")
        happened, violations, text, inline = visitor.page.evaluate(_WHAT_HAPPENED)
        visitor.faults[:] = [fault for fault in visitor.faults if not fault.startswith(_REFUSED)]
        assert (happened, violations, inline, visitor.faults) == (None, [], 0, []), f"on {path}"
        assert EVALUATED not in text, f"on {path}"


def test_no_canary_sings_on_any_page(house: House, browser: Browser, planted: dict[str, str]) -> None:
    pages = list(_pages(house, planted))
    assert len(pages) > 30
    with visit(house, browser, user_agent=CANARY) as visitor:
        _look(visitor, [page for page in pages if not page.startswith("/admin") or "?" in page])
        visitor.sign_in(email=CANARY).wait_for_load_state("load")
        assert visitor.page.evaluate("window.__canary") is None
        visitor.faults.clear()
        visitor.sign_in().wait_for_url("**/admin")
        _look(visitor, pages)
        visitor.go("/admin").get_by_label("Search by title").fill(CANARY)
        visitor.page.wait_for_timeout(700)  # longer than the pause after which it searches
        assert visitor.page.evaluate("window.__canary") is None and visitor.page.evaluate("window.__violations") == []


def test_no_answer_of_the_api_can_be_taken_for_a_page(house: House, planted: dict[str, str]) -> None:
    mount = next(
        route
        for route in create_app(house.services.config).routes
        if isinstance(route, Mount) and route.path == "/api/v1"
    )
    paths = {route.path for route in mount.routes if isinstance(route, Route) and "GET" in (route.methods or ())}
    assert len(paths) > 20
    ids = {"assets": planted["/admin/assets/{id}"], "users": planted["/admin/people/{id}"]}
    with house.api() as api:
        api.headers["Accept"] = "text/html"
        for path in sorted(paths):
            noun = path.split("/")[1]
            for value in (ids.get(noun, "canary-watch"), quote(CANARY, safe="")):
                _is_no_page(api.get(_filled(path, value), params={"q": CANARY, "cursor": "x"} if value in ids else {}))
                _is_no_page(api.get(_filled(path, value), params={"limit": CANARY, "action": CANARY}))
        _is_no_page(api.post("/assets", content=CANARY))
        _is_no_page(api.post("/users", json={CANARY: CANARY}))
        _is_no_page(api.post("/session", json={"email": CANARY, "password": CANARY}))
    _is_no_page(httpx2.get(f"{house.url}/p/{quote(CANARY)}/x", headers={"Accept": "text/html"}, verify=NO_TLS))


def _filled(path: str, value: str) -> str:
    before, _, rest = path.partition("{")
    return before + value + _filled(rest.partition("}")[2], value) if rest else path


def _is_no_page(answer: httpx2.Response) -> None:
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert kind in ("application/json", "application/problem+json", "application/x-ndjson", "application/jsonl"), (
        answer.url
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in str(answer.headers)
