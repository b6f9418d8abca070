"""Roles over JSON: read with what they allow, made, changed and deleted, always within what whoever asks may do."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer import db, http
from streamer.accounts import logins, rolebook
from streamer.accounts.roles import Permission


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewRole(_Body):
    name: str
    permissions: list[str]


class RoleChange(_Body):
    permissions: list[str]


def list_roles(request: Request) -> Response:
    """All of them: there are never so many that they would need pages."""
    logins.require(request, Permission.ROLES_READ)
    with db.reading(http.services(request)) as s:
        return JSONResponse({"data": [_document(one) for one in rolebook.entries(s)]})


def read_role(request: Request) -> Response:
    logins.require(request, Permission.ROLES_READ)
    return JSONResponse(_read(request, request.path_params["name"]))


def create_role(request: Request) -> Response:
    held = logins.require(request, Permission.ROLES_WRITE).permissions
    body = http.read(request, NewRole)
    db.retrying(http.services(request), lambda s: rolebook.create(s, body.name, body.permissions, held))
    return JSONResponse(_read(request, body.name), 201)


def change_role(request: Request) -> Response:
    held = logins.require(request, Permission.ROLES_WRITE).permissions
    body, name = http.read(request, RoleChange), request.path_params["name"]
    db.retrying(http.services(request), lambda s: rolebook.change(s, name, body.permissions, held))
    return JSONResponse(_read(request, name))


def delete_role(request: Request) -> Response:
    held = logins.require(request, Permission.ROLES_WRITE).permissions

    def delete(s: Session) -> None:
        rolebook.delete(s, request.path_params["name"], held)

    db.retrying(http.services(request), delete)
    return Response(status_code=204)


def _read(request: Request, name: str) -> dict[str, Any]:
    with db.reading(http.services(request)) as s:
        return _document(rolebook.entry(s, name))


def _document(one: rolebook.Entry) -> dict[str, Any]:
    return {
        "name": one.name,
        "permissions": sorted(one.permissions),
        "built_in": one.built_in,
        "people": one.people,
    }


routes = [
    Route("/roles", list_roles),
    Route("/roles", create_role, methods=["POST"]),
    Route("/roles/{name}", read_role),
    Route("/roles/{name}", change_role, methods=["PATCH"]),
    Route("/roles/{name}", delete_role, methods=["DELETE"]),
]
