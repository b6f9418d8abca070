"""The description of the API is whole, says what the routes do, and refers to nothing that is not there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.responses import Response
from starlette.routing import Route

from streamer import app as application
from streamer.accounts import doors
from streamer.accounts.roles import Permission
from streamer.app import create_app
from streamer.openapi import PREFIX, Contract
from streamer.operations import Access, Operation
from tests.streamer.running import running
from tests.streamer.stack import make_config
from tests.web import NO_TLS


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return Contract(application.api_routes()).document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_it_is_served_to_anybody_as_it_is(tmp_path: Path, redis_url: str, document: dict[str, Any]) -> None:
    config = make_config(tmp_path, database=f"sqlite:///{tmp_path}/streamer.db", redis=redis_url)
    with running(create_app(config)) as url:
        answer = httpx2.get(f"{url}{PREFIX}/openapi.json", verify=NO_TLS)
    assert answer.headers["content-type"] == "application/json" and answer.json() == document
    assert document["openapi"] == "3.1.0" and document["servers"] == [{"url": PREFIX}]


def test_every_route_is_in_it_under_a_name_of_its_own(document: dict[str, Any]) -> None:
    found = {one for one, _ in operations(document)}
    assert found == {f"{one.method} {route.path}" for route in application.api_routes() for one in route.operations}
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) > 90 and len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere_and_every_schema_is_referred_to(document: dict[str, Any]) -> None:
    there = document["components"]["schemas"].keys()
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert referred == there and not [name for name in there if not name.isalnum()]


def test_every_operation_has_a_summary_an_answer_and_its_refusals(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        statuses = {int(status) for status in operation["responses"]}
        assert operation["summary"] and min(statuses) < 300 and {429, 503} <= statuses, name
        assert ({401, 403} <= statuses) or not operation["security"], name
        assert 404 in statuses or "{" not in name or not operation["security"], name
        assert {"400", "408", "413"} <= operation["responses"].keys() or "requestBody" not in operation, name


def test_what_it_asks_for_is_what_the_lock_asks_for(document: dict[str, Any]) -> None:
    by_name = dict(operations(document))
    assert by_name["POST /users"]["security"] == [
        {"key": ["any:users:write"]},
        {"session": ["any:users:write"], "csrf": []},
    ]
    assert by_name["GET /me/sessions"]["security"] == [{"session": []}]
    assert by_name["POST /session"]["security"] == []
    known = {permission.value for permission in Permission}
    named = {
        one["x-access"][key] for one in by_name.values() for key in ("permission", "seen") if key in one["x-access"]
    }
    assert named <= known and len(named) > 12


def nothing(request: object) -> Response:
    return Response()


def test_a_route_that_does_not_say_who_may_ask_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application.jobs_api, "routes", [Route("/jobs", nothing)])
    with pytest.raises(TypeError, match="/jobs does not say who may ask"):
        application.api_routes()


def test_an_operation_can_not_be_written_without_an_access() -> None:
    with pytest.raises(TypeError, match="access"):
        Operation("GET", "Nothing")  # type: ignore[call-arg]
    assert doors.allowed(Permission.JOBS_READ) == Access(permission="any:jobs:read")
