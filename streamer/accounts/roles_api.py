"""Roles over JSON: read with what they allow, made, changed and deleted, always within what whoever asks may do."""

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, logins, rolebook
from streamer.accounts.roles import Permission
from streamer.operations import Listed, Operation


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewRole(_Body):
    name: str
    permissions: list[str]


class RoleChange(_Body):
    permissions: list[str]


class RoleDocument(TypedDict):
    """A role; `people` have it."""

    name: str
    permissions: list[str]
    built_in: bool
    people: int


def list_roles(request: Request) -> Response:
    """All of them: there are never so many that they would need pages."""
    with db.reading(http.services(request)) as s:
        return JSONResponse({"data": [_document(one) for one in rolebook.counted(s)]})


def read_role(request: Request) -> Response:
    return JSONResponse(_read(request, request.path_params["name"]))


def create_role(request: Request) -> Response:
    held = logins.require(request).permissions
    body = http.read(request, NewRole)
    db.retrying(http.services(request), lambda s: rolebook.create(s, body.name, body.permissions, held))
    return JSONResponse(_read(request, body.name), 201)


def change_role(request: Request) -> Response:
    held = logins.require(request).permissions
    body, name = http.read(request, RoleChange), request.path_params["name"]
    db.retrying(http.services(request), lambda s: rolebook.change(s, name, body.permissions, held))
    return JSONResponse(_read(request, name))


def delete_role(request: Request) -> Response:
    held = logins.require(request).permissions

    def delete(s: Session) -> None:
        rolebook.delete(s, request.path_params["name"], held)

    db.retrying(http.services(request), delete)
    return Response(status_code=204)


def _read(request: Request, name: str) -> RoleDocument:
    with db.reading(http.services(request)) as s:
        return _document(rolebook.entry(s, name))


def _document(one: rolebook.Entry) -> RoleDocument:
    return {
        "name": one.name,
        "permissions": sorted(one.permissions),
        "built_in": one.built_in,
        "people": one.people,
    }


_READ, _WRITE = doors.allowed(Permission.ROLES_READ), doors.allowed(Permission.ROLES_WRITE)

routes = [
    doors.route("/roles", list_roles, Operation("GET", "List roles", _READ, Listed[RoleDocument])),
    doors.route(
        "/roles", create_role, Operation("POST", "Make a role", _WRITE, RoleDocument, 201, body=NewRole, refuses=(409,))
    ),
    doors.route("/roles/{name}", read_role, Operation("GET", "Read a role", _READ, RoleDocument)),
    doors.route(
        "/roles/{name}",
        change_role,
        Operation("PATCH", "Change what a role may do", _WRITE, RoleDocument, body=RoleChange, refuses=(409,)),
    ),
    doors.route("/roles/{name}", delete_role, Operation("DELETE", "Delete a role", _WRITE, status=204, refuses=(409,))),
]
