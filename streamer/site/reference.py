"""The API for people who write programs: its description (`openapi`) as pages, an anchor for each operation. Found by words on the server; needs no script."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamer.accounts import logins
from streamer.errors import NotFound
from streamer.openapi import PREFIX, Contract
from streamer.operations import JSON
from streamer.services import Services
from streamer.site.rendering import render

_DEEP = 3
_SAMPLES = {"date-time": "2026-01-31T12:00:00Z"}
_DOORS = {
    "open": "Anybody.",
    "account": "Anybody with an account.",
    "whole": "Anybody with an account; not a key with narrowed scopes.",
    "person": "In person: with a session, not with a key.",
    "enrolling": "In person: with a session, not with a key.",
}
_BRIEFLY = {
    "open": "Anybody",
    "account": "Any account",
    "whole": "Any account",
    "person": "A session, not a key",
    "enrolling": "A session, not a key",
}
_OWNERS_BRIEFLY = {"none": "", "too": "Its owner, or", "wholly": "Its owner, or", "only": "Its owner, with"}
_OWNERS = {
    "too": "Whose it is, and",
    "wholly": "Whose it is (not by a key with narrowed scopes), and",
    "only": "Whose it is, with",
}

Schemas = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """A line of a table: a member with its path (`data[].id`), or a parameter with its place."""

    name: str
    kind: str
    required: bool
    about: str


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent or answered as one media type."""

    media: str
    members: Sequence[Member]
    about: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """An operation as its page shows it. Who may: `access` in a sentence; `needs` and `permission` in few words."""

    anchor: str
    tag: str
    method: str
    path: str
    summary: str
    about: str
    access: str
    needs: str
    permission: str
    parameters: Sequence[Member]
    bodies: Sequence[Body]
    answers: Sequence[tuple[str, str, Sequence[Body]]]
    refusals: Sequence[tuple[str, str]]
    example: str

    @property
    def words(self) -> str:
        """What it is found by."""
        return f"{self.method} {PREFIX}{self.path} {self.summary} {self.about} {self.access}".casefold()

    def says(self, words: Sequence[str]) -> bool:
        """Whether all of the words are somewhere in what names it."""
        return all(word in self.words for word in words)


def contents(request: Request) -> Response:
    """All operations by resource, or those with the words of `q`."""
    words = request.query_params.get("q", "").casefold().split()
    everything = _operations(request)
    found = [one for one in everything if one.says(words)]
    return render(
        request,
        logins.principal(request),
        "reference/contents.html",
        groups=_groups(found),
        tags=_counted(_groups(everything)),
        count=len(found),
        words=request.query_params.get("q", "")[:100],
        prefix=PREFIX,
    )


def resource(request: Request) -> Response:
    """The operations of one resource, in full."""
    tag = request.path_params["tag"]
    groups = _groups(_operations(request))
    if tag not in groups:
        raise NotFound("The API has no such resource. Look at /docs for those there are.")
    return render(
        request,
        logins.principal(request),
        "reference/resource.html",
        tag=tag,
        operations=groups[tag],
        tags=_counted(groups),
        prefix=PREFIX,
    )


def _groups(found: Sequence[Shown]) -> dict[str, list[Shown]]:
    groups: dict[str, list[Shown]] = {}
    for one in found:
        groups.setdefault(one.tag, []).append(one)
    return {tag: sorted(groups[tag], key=lambda one: one.path) for tag in sorted(groups)}


def _counted(groups: Mapping[str, Sequence[Shown]]) -> dict[str, int]:
    return {tag: len(operations) for tag, operations in groups.items()}


def _operations(request: Request) -> list[Shown]:
    contract: Contract = request.app.state.contract
    base = _base(request)
    schemas = contract.document["components"]["schemas"]
    return [
        _shown(path, method.upper(), operation, schemas, base)
        for path, methods in contract.document["paths"].items()
        for method, operation in methods.items()
    ]


def _base(request: Request) -> str:
    services: Services = request.app.state.services
    return services.config.server.public_url or f"{request.url.scheme}://{request.url.netloc}"


def _shown(path: str, method: str, operation: Mapping[str, Any], schemas: Schemas, base: str) -> Shown:
    answers = [(status, said) for status, said in operation["responses"].items() if status < "4"]
    return Shown(
        anchor=operation["operationId"],
        tag=operation["tags"][0],
        method=method,
        path=path,
        summary=operation["summary"],
        about=operation.get("description", ""),
        access=_access(operation["x-access"]),
        needs=_needs(operation["x-access"]),
        permission=operation["x-access"].get("permission", ""),
        parameters=[_parameter(one, schemas) for one in operation.get("parameters", ())],
        bodies=_bodies(operation.get("requestBody", {}), schemas),
        answers=[(status, said["description"], _bodies(said, schemas)) for status, said in answers],
        refusals=[(status, said["description"]) for status, said in operation["responses"].items() if status >= "4"],
        example=_example(path, method, operation, schemas, base),
    )


def _access(access: Mapping[str, str]) -> str:
    permission = access.get("permission")
    if permission is None:
        return "Whose it is." if access["owner"] == "only" else _DOORS[access["door"]]
    if access["owner"] == "none":
        return f"Whoever has the permission `{permission}`."
    before = _OWNERS[access["owner"]]
    return (
        f"{before} the permission `{permission}`."
        if access["owner"] == "only"
        else f"{before} whoever has the permission `{permission}`."
    )


def _needs(access: Mapping[str, str]) -> str:
    """What stands before the permission, or for it."""
    if "permission" in access:
        return _OWNERS_BRIEFLY[access["owner"]]
    return "Its owner" if access["owner"] == "only" else _BRIEFLY[access["door"]]


def _parameter(parameter: Mapping[str, Any], schemas: Schemas) -> Member:
    about = parameter.get("description", "")
    place = {"path": "in the path", "query": "in the query", "header": "a header"}[parameter["in"]]
    return Member(parameter["name"], f"{_kind(parameter['schema'], schemas)}, {place}", parameter["required"], about)


def _bodies(carrier: Mapping[str, Any], schemas: Schemas) -> list[Body]:
    return [
        Body(media, list(_members(said["schema"], schemas)), _resolved(said["schema"], schemas).get("description", ""))
        for media, said in carrier.get("content", {}).items()
    ]


def _members(schema: Mapping[str, Any], schemas: Schemas, path: str = "", deep: int = 0) -> Iterator[Member]:
    """The members of an object and of those in it, as far as _DEEP."""
    for shape in _shapes(schema, schemas):
        if shape.get("type") == "array":
            yield from _members(shape["items"], schemas, f"{path}[]", deep)
        required = shape.get("required", ())
        for name, member in shape.get("properties", {}).items() if deep < _DEEP else ():
            full = f"{path}.{name}" if path else name
            yield Member(full, _kind(member, schemas), name in required, _about(member))
            yield from _members(member, schemas, full, deep + 1)


def _about(member: Mapping[str, Any]) -> str:
    limits = {"minimum": "at least", "maximum": "at most", "maxLength": "characters at most:", "default": "otherwise"}
    told = [f"{words} {json.dumps(member[key])}" for key, words in limits.items() if member.get(key) is not None]
    return " ".join(part for part in (member.get("description", ""), "; ".join(told)) if part)


def _kind(schema: Mapping[str, Any], schemas: Schemas) -> str:
    kinds = [_one_kind(shape, schemas) for shape in _shapes(schema, schemas)]
    return " or ".join(dict.fromkeys(kinds))


def _one_kind(shape: Mapping[str, Any], schemas: Schemas) -> str:
    if "enum" in shape or "const" in shape:
        return " | ".join(map(str, shape.get("enum") or [shape["const"]]))
    if shape.get("type") == "array":
        return f"list of {_kind(shape['items'], schemas)}"
    if shape.get("format") == "binary":
        return "bytes"
    if shape.get("format") == "date-time":
        return "time"
    return "id" if str(shape.get("pattern", "")).startswith("^[a-z]+_") else str(shape.get("type", "anything"))


def _shapes(schema: Mapping[str, Any], schemas: Schemas) -> list[Mapping[str, Any]]:
    """What it may be, references followed."""
    schema = _resolved(schema, schemas)
    choices = schema.get("anyOf") or schema.get("oneOf")
    return [_resolved(choice, schemas) for choice in choices] if choices else [schema]


def _resolved(schema: Mapping[str, Any], schemas: Schemas) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _example(path: str, method: str, operation: Mapping[str, Any], schemas: Schemas, base: str) -> str:
    """As one would type it into a shell."""
    words = ["curl"]
    if method == "HEAD":
        words.append("--head")
    if any("key" in way for way in operation["security"]):
        words.append('-H "Authorization: Bearer $key"')
    elif operation["security"]:
        words.append(
            '-b "session=$cookie"'
            if method == "GET"
            else '-b "session=$cookie" -H "X-CSRF-Token: $csrf" -H "Origin: $origin"'
        )
    needed = [one for one in operation.get("parameters", ()) if one["in"] == "header" and one["required"]]
    words += [f"-H '{one['name']}: {_sample(one['schema'], schemas, one['name'])}'" for one in needed]
    content = operation.get("requestBody", {}).get("content", {})
    if JSON in content:
        words.append(f"--json '{json.dumps(_sample(content[JSON]['schema'], schemas), ensure_ascii=False)}'")
    elif content:
        words.append(f"-H 'Content-Type: {next(iter(content))}' --data-binary @film.mp4")
    if method not in ("GET", "HEAD") and (method != "POST" or not content):
        words.append(f"-X {method}")
    return " \\\n  ".join([*words, f"{base}{PREFIX}{path}"])


def _sample(schema: Mapping[str, Any], schemas: Schemas, name: str = "") -> Any:
    """The least that would do."""
    shape = _shapes(schema, schemas)[0]
    if "default" in schema:
        return schema["default"]
    if "enum" in shape or "const" in shape:
        return (shape.get("enum") or [shape["const"]])[0]
    match shape.get("type"):
        case "object":
            members = shape.get("properties", {})
            wanted = shape.get("required") or list(members)[:1]
            return {one: _sample(members[one], schemas, one) for one in wanted}
        case "array":
            return [_sample(shape["items"], schemas, name)]
        case "integer" | "number":
            return max(1, shape.get("minimum", 1))
        case "boolean":
            return True
    return _SAMPLES.get(shape.get("format", "")) or ("0" if name.startswith("Upload-") else "…")


routes = [Route("/docs", contents), Route("/docs/{tag}", resource)]
