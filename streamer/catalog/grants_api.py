"""Who may do what in a collection, over JSON, and the lock that the other routes of collections share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, logins
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog import collections, grants
from streamer.catalog.collection_tables import Access, Grant
from streamer.errors import Invalid
from streamer.operations import Id, Listed, Operation, Time

Word = Literal["view", "contribute", "edit", "manage"]
CHANGE = doors.changeable(Permission.ASSETS_WRITE, seen=Permission.ASSETS_LIST)


class NewGrant(BaseModel):
    """To a person or to everybody with a role, in place of what they were granted before."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: str | None = Field(default=None, max_length=32)
    role: str | None = Field(default=None, max_length=64)
    access: Word


class GrantDocument(TypedDict):
    """What a person, or everybody with a role, may do; one of the two is null."""

    id: Id
    user_id: Id | None
    role: str | None
    access: Word
    created_at: Time


def list_grants(request: Request) -> Response:
    """All of them, to those who manage the collection: there are never so many that they would need pages."""
    who = logins.require(request)
    with db.reading(http.services(request)) as s:
        row = collections.find(s, request.path_params["id"], who, Access.MANAGE)
        return JSONResponse({"data": [_grant(one) for one in grants.listed(s, row)]})


def create_grant(request: Request) -> Response:
    who = admitted(request, Access.MANAGE)
    wanted = http.read(request, NewGrant)
    if (wanted.user_id is None) == (wanted.role is None):
        raise Invalid("Name a user_id or a role, one of them.", errors=[{"pointer": "/user_id", "detail": "or /role"}])

    def give(s: Session) -> Grant:
        row = collections.changeable(s, request.path_params["id"], who)
        return grants.give(s, row, Access[wanted.access.upper()], user_id=wanted.user_id, role=wanted.role)

    return JSONResponse(_grant(db.retrying(http.services(request), give)), 201)


def delete_grant(request: Request) -> Response:
    who = logins.require(request)

    def take_back(s: Session) -> None:
        row = collections.changeable(s, request.path_params["id"], who)
        grants.take_back(s, row, request.path_params["grant_id"])

    db.retrying(http.services(request), take_back)
    return Response(status_code=204)


def admitted(request: Request, needed: Access) -> Principal:
    """Whoever may do so much here, before what they sent is looked at."""
    who = logins.require(request)
    with db.reading(http.services(request)) as s:
        collections.find(s, request.path_params["id"], who, needed)
    return who


def _grant(row: Grant) -> GrantDocument:
    role = grants.role_of(row)
    return {
        "id": row.id,
        "user_id": None if role else row.grantee,
        "role": role,
        "access": word(Access(row.level)),
        "created_at": row.created_at.isoformat(),
    }


def word(access: Access) -> Word:
    """What the API calls it."""
    words: dict[Access, Word] = {
        Access.VIEW: "view",
        Access.CONTRIBUTE: "contribute",
        Access.EDIT: "edit",
        Access.MANAGE: "manage",
    }
    return words[access]


routes = [
    doors.route(
        "/collections/{id}/grants",
        list_grants,
        Operation("GET", "List who may do what in a collection", CHANGE, Listed[GrantDocument]),
    ),
    doors.route(
        "/collections/{id}/grants",
        create_grant,
        Operation("POST", "Grant something in a collection", CHANGE, GrantDocument, 201, body=NewGrant, refuses=(409,)),
    ),
    doors.route(
        "/collections/{id}/grants/{grant_id}",
        delete_grant,
        Operation("DELETE", "Take a grant back", CHANGE, status=204),
    ),
]
