"""The API's description, OpenAPI 3.1, written from the operations beside the routes: `/api/v1/openapi.json`.

Schemas come from the models that bodies are read into and the TypedDicts that answers are. What each operation refuses for reasons that
many have is not said beside it: it follows from what it takes and whom it lets in (`_refused`).
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from starlette.requests import Request
from starlette.responses import Response

from streamer import ids
from streamer.operations import JSON, Access, ApiRoute, Door, Operation, Owner
from streamer.problems import ProblemDocument

PREFIX = "/api/v1"
PROBLEM = "application/problem+json"

_REF = "#/components/schemas/"
_SAFE = {"GET", "HEAD", "OPTIONS"}
_WORDS = {460: "Checksum Mismatch"}  # tus's own
_PATH = {"name": {"type": "string", "minLength": 1, "maxLength": 128}}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Of your choice, such as a UUID. The same request under it is done once, and answered alike for a day.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
_ID = {"type": "string", "pattern": ids.PATTERN}

SECURITY = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer sk_…`."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "session",
        "description": "The cookie of a session; over https its name is `__Host-session`.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "With a cookie, for all that changes something: the session's `csrf_token`.",
    },
}


@dataclass(frozen=True)
class Contract:
    """All operations of an application. The description is made when somebody first asks for it."""

    routes: Sequence[ApiRoute] = field(repr=False)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The description as an object."""
        return _document(self.routes)

    @cached_property
    def text(self) -> bytes:
        """The description as JSON."""
        return json.dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode()


def serve(request: Request) -> Response:
    """This description."""
    contract: Contract = request.app.state.contract
    return Response(contract.text, media_type=JSON, headers={"Cache-Control": "public, max-age=300"})


def operation_id(route: ApiRoute, operation: Operation) -> str:
    """The endpoint's name with its room before it, unique and steady; with the method where an endpoint has several."""
    *_, room, module = route.endpoint.__module__.split(".")
    area = room if module == "api" else module.removesuffix("_api")
    name = f"{area}_{route.endpoint.__name__}"
    return name if len(route.operations) == 1 else f"{name}_{operation.method.lower()}"


def _document(routes: Sequence[ApiRoute]) -> dict[str, Any]:
    schemas, components = _schemas(routes)
    asked = {repr(kind): components.pop(_name(schemas[repr(kind)])) for kind in _asked(routes)}
    paths: dict[str, Any] = {}
    for route in routes:
        for operation in route.operations:
            described = _operation(route, operation, {**schemas, **asked})
            paths.setdefault(route.path, {})[operation.method.lower()] = described
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Streamer",
            "version": "1",
            "description": "Films in, adaptive HLS out. Errors are problem documents (RFC 9457); lists come in pages.",
        },
        "servers": [{"url": PREFIX}],
        "tags": [{"name": name} for name in dict.fromkeys(_tag(route) for route in routes)],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": SECURITY},
    }
    return _renamed(document)


class _Plain(GenerateJsonSchema):
    """Without a title for each member: it would only repeat the name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schemas(routes: Sequence[ApiRoute]) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """The schema of each type, by `repr`, and what they refer to."""
    wanted: dict[str, tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = {}
    for mode, kind in _types(routes):
        wanted.setdefault(repr(kind), (repr(kind), mode, TypeAdapter(kind)))
    found, shared = TypeAdapter.json_schemas(wanted.values(), ref_template=f"{_REF}{{model}}", schema_generator=_Plain)
    return {key: schema for (key, _), schema in found.items()}, shared["$defs"]


def _types(routes: Sequence[ApiRoute]) -> Iterator[tuple[JsonSchemaMode, Any]]:
    yield "serialization", ProblemDocument
    for operation in (one for route in routes for one in route.operations):
        yield from (("validation", kind) for kind in (operation.body, operation.query, operation.headers) if kind)
        yield from (("serialization", kind) for kind in (operation.answer, *operation.also.values()) if kind)


def _asked(routes: Sequence[ApiRoute]) -> set[Any]:
    """Parameters in queries and headers; they are written out where they are, not shared."""
    operations = [one for route in routes for one in route.operations]
    return {kind for one in operations for kind in (one.query, one.headers) if kind}


def _name(reference: Mapping[str, str]) -> str:
    return reference["$ref"].removeprefix(_REF)


def _operation(route: ApiRoute, operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    described = {
        "operationId": operation_id(route, operation),
        "tags": [_tag(route)],
        "summary": operation.summary,
        "description": " ".join((operation.about or inspect.getdoc(route.endpoint) or "").split()),
        "parameters": list(_parameters(route, operation, schemas)),
        "requestBody": _body(operation, schemas),
        "responses": _responses(route, operation, schemas),
        "security": _security(operation),
        "x-access": _access(operation.access),
    }
    return {name: value for name, value in described.items() if value or name == "security"}


def _parameters(route: ApiRoute, operation: Operation, schemas: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in route.param_convertors:
        yield {"name": name, "in": "path", "required": True, "schema": _PATH.get(name, _ID)}
    if operation.method in route.once:
        yield _KEY
    for place, kind in (("query", operation.query), ("header", operation.headers)):
        if kind is None:
            continue
        schema = schemas[repr(kind)]
        for name, member in schema["properties"].items():
            told = {"name": name, "in": place, "required": name in schema.get("required", ())}
            if "description" in member:
                told["description"] = member["description"]
            yield {**told, "schema": {key: value for key, value in member.items() if key != "description"}}


def _body(operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.body is not None:
        content[JSON] = {"schema": schemas[repr(operation.body)]}
    if operation.file:
        content[operation.file] = {"schema": {"type": "string", "format": "binary"}}
    return {"content": content, "required": _needs_body(operation)} if content else {}


def _needs_body(operation: Operation) -> bool:
    model = operation.body
    return not operation.file and model is not None and any(one.is_required() for one in model.model_fields.values())


def _responses(route: ApiRoute, operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    answers = {operation.status: operation.answer, **operation.also}
    said = {str(status): _answer(status, kind, operation.media, schemas) for status, kind in answers.items()}
    problem = {PROBLEM: {"schema": schemas[repr(ProblemDocument)]}}
    refused = {
        str(status): {"description": _phrase(status), "content": problem} for status in _refused(route, operation)
    }
    return {**said, **refused}


def _answer(status: int, kind: Any, media: str, schemas: Mapping[str, Any]) -> dict[str, Any]:
    if kind is None:
        return {"description": _phrase(status)}
    return {"description": _phrase(status), "content": {media: {"schema": schemas[repr(kind)]}}}


def _refused(route: ApiRoute, operation: Operation) -> list[int]:
    """Everybody is told 429 and 503; the rest follows from what there is to be wrong."""
    statuses = {429, 503, *operation.refuses}
    if operation.method in route.once:
        statuses |= {400, 409, 422}
    takes_body = operation.body is not None or bool(operation.file)
    if takes_body:
        statuses |= {400, 408, 413}
    if operation.query or operation.headers or "name" in route.param_convertors:
        statuses.add(400)
    if operation.access.door is not Door.OPEN:
        statuses |= {401, 403}
    if route.param_convertors:
        statuses.add(404)
    return sorted(statuses)


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """Either of them. What stands in the lists are permissions, which OpenAPI 3.1 allows there."""
    access = operation.access
    if access.door is Door.OPEN:
        return []
    needed = [access.permission] if access.permission and access.owner in (Owner.NONE, Owner.ONLY) else []
    proof: dict[str, list[str]] = {} if operation.method in _SAFE else {"csrf": []}
    session: dict[str, list[str]] = {"session": needed, **proof}
    return [session] if access.door in (Door.PERSON, Door.ENROLLING) else [{"key": needed}, session]


def _access(access: Access) -> dict[str, str]:
    told = {
        "door": access.door.value,
        "owner": access.owner.value,
        "permission": access.permission,
        "seen": access.seen,
    }
    return {name: str(value) for name, value in told.items() if value}


def _tag(route: ApiRoute) -> str:
    return route.path.split("/")[1]


def _phrase(status: int) -> str:
    return _WORDS.get(status) or HTTPStatus(status).phrase


def _renamed(document: dict[str, Any]) -> dict[str, Any]:
    """Schemas under the names that people say: `Asset`, not `AssetDocument`; `AssetPage`, not `Page_AssetDocument_`."""
    schemas = document["components"]["schemas"]
    names = {name: _short(name) for name in schemas}
    doubled = sorted(name for name in names if list(names.values()).count(names[name]) > 1)
    assert not doubled, f"schemas would share a name: {', '.join(doubled)}"
    text = re.sub(rf'"{_REF}([^"]+)"', lambda found: f'"{_REF}{names[found[1]]}"', json.dumps(document))
    renamed: dict[str, Any] = json.loads(text)
    renamed["components"]["schemas"] = {
        names[name]: {**renamed["components"]["schemas"][name], "title": names[name]}
        for name in sorted(schemas, key=lambda one: names[one])
    }
    return renamed


def _short(name: str) -> str:
    name = name.replace("Document", "")
    return re.sub(r"^(Page|Listed)_(\w+)_$", lambda found: found[2] + found[1].replace("Listed", "List"), name)
