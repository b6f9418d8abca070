"""All that is held of a person over JSON, and its end: one's own in person, anybody's for those who may change their account."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, logins, users
from streamer.accounts.roles import Permission
from streamer.errors import Conflict
from streamer.membership import persons
from streamer.operations import Id, Operation


class Farewell(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    password: str


class ErasureQuery(TypedDict, total=False):
    """`films_to` is the account that gets the films; without it they are deleted."""

    films_to: Id


class PersonDocument(TypedDict):
    """All that is held, by section; rows are as their rooms show them."""

    account: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    api_keys: list[dict[str, Any]]
    audit: list[dict[str, Any]]
    invitations: list[dict[str, Any]]
    providers: list[dict[str, Any]]
    links: list[dict[str, Any]]
    films: list[dict[str, Any]]
    collections: list[dict[str, Any]]
    plans: list[dict[str, Any]]
    uploads: list[dict[str, Any]]
    watched: list[dict[str, Any]]


def export_own(request: Request) -> Response:
    """Everything, as a file."""
    return _file(request, logins.in_person(request).user_id)


def export_one(request: Request) -> Response:
    """The same of somebody else."""
    held = logins.require(request).permissions
    with db.reading(http.services(request)) as s:
        user_id = users.changeable(s, request.path_params["id"], held).id
    return _file(request, user_id)


def erase_own(request: Request) -> Response:
    """For good, for whoever knows the password."""
    who = logins.in_person(request)
    logins.check_password(request, who, http.read(request, Farewell).password)
    persons.erase(http.services(request), who.user_id)
    response = Response(status_code=204)
    logins.clear_cookie(request, response)
    return response


def erase_one(request: Request) -> Response:
    """`?films_to=` is the account that gets the films; without it they are deleted."""
    who = logins.require(request)
    user_id = request.path_params["id"]
    refuse_own(who.user_id, user_id)
    heir_id = request.query_params.get("films_to") or None
    persons.erase(http.services(request), user_id, heir_id=heir_id, held=who.permissions)
    return Response(status_code=204)


def refuse_own(own_id: str, user_id: str) -> None:
    """One's own account goes by its password alone."""
    if own_id == user_id:
        raise Conflict("This is your own account. Erase it on its page, with your password.", code="own_account")


def _file(request: Request, user_id: str) -> Response:
    name = {"Content-Disposition": f'attachment; filename="{user_id}.json"'}
    return StreamingResponse(
        persons.export(http.services(request), user_id), media_type="application/json", headers=name
    )


_WRITE = doors.allowed(Permission.USERS_WRITE)

routes = [
    doors.route(
        "/me/export", export_own, Operation("GET", "Take all that is held of you", doors.PERSON, PersonDocument)
    ),
    doors.route(
        "/me",
        erase_own,
        Operation("DELETE", "Erase your account", doors.PERSON, status=204, body=Farewell, refuses=(409,)),
    ),
    doors.route(
        "/users/{id}/export", export_one, Operation("GET", "Take all that is held of somebody", _WRITE, PersonDocument)
    ),
    doors.route(
        "/users/{id}",
        erase_one,
        Operation("DELETE", "Erase somebody's account", _WRITE, status=204, query=ErasureQuery, refuses=(409,)),
    ),
]
