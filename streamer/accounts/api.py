"""Sessions, the signed-in account, users and API keys over JSON."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer import db, http
from streamer.accounts import apikeys, limits, login_sessions, logins, users
from streamer.accounts.limits import Kind
from streamer.accounts.logins import Principal, SignedIn
from streamer.accounts.roles import Permission
from streamer.accounts.tables import ApiKey, User
from streamer.errors import Forbidden


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SignIn(_Body):
    email: str
    password: str


class NewUser(_Body):
    email: str
    name: str
    role: str
    password: str


class UserChange(_Body):
    disabled: bool | None = None
    role: str | None = None


class NewKey(_Body):
    name: str
    scopes: list[str] = [apikeys.EVERYTHING]


@limits.counted(Kind.SIGN_IN)
def create_session(request: Request) -> Response:
    body = http.read(request, SignIn)
    return session_response(request, logins.sign_in(request, body.email, body.password))


def session_response(request: Request, signed_in: SignedIn, status: int = 201) -> Response:
    """The cookie of a new session, and what goes with it."""
    response = JSONResponse({"user": user_document(signed_in.user), "csrf_token": signed_in.csrf_token}, status)
    logins.set_cookie(request, response, signed_in)
    return response


def delete_session(request: Request) -> Response:
    logins.in_person(request, enrolling=True)
    logins.sign_out(request)
    response = Response(status_code=204)
    logins.clear_cookie(request, response)
    return response


def me(request: Request) -> Response:
    who = logins.require(request)
    with db.reading(http.services(request)) as s:
        user = users.get(s, who.user_id)
    return JSONResponse(
        {
            **user_document(user),
            "permissions": sorted(who.permissions),
            "csrf_token": who.csrf_token,
        }
    )


def list_users(request: Request) -> Response:
    logins.require(request, Permission.USERS_READ)
    with db.reading(request.app.state.services) as s:
        rows, cursor = http.page(request, s, select(User), User.id)
    return JSONResponse({"data": [user_document(row) for row in rows], "next_cursor": cursor})


def create_user(request: Request) -> Response:
    held = logins.require(request, Permission.USERS_WRITE).permissions
    body = http.read(request, NewUser)
    services = request.app.state.services
    fields = body.model_dump()
    user = db.retrying(services, lambda s: users.create(s, services.config.accounts, held=held, **fields))
    return JSONResponse(user_document(user), 201)


def change_user(request: Request) -> Response:
    held = logins.require(request, Permission.USERS_WRITE).permissions
    body = http.read(request, UserChange)
    services, user_id = request.app.state.services, request.path_params["id"]

    def change(s: Session) -> User:
        if body.role is not None:
            users.set_role(s, user_id, body.role, held)
        if body.disabled is not None:
            users.set_disabled(s, user_id, body.disabled, held)
        return users.get(s, user_id)

    user = db.retrying(services, change)
    if body.disabled:
        login_sessions.end_all(services, user.id)
    return JSONResponse(user_document(user))


def list_keys(request: Request) -> Response:
    who = _key_keeper(request)
    mine = select(ApiKey).where(ApiKey.user_id == who.user_id, ApiKey.revoked_at.is_(None))
    with db.reading(request.app.state.services) as s:
        rows, cursor = http.page(request, s, mine, ApiKey.id)
    return JSONResponse({"data": [_key(row) for row in rows], "next_cursor": cursor})


def create_key(request: Request) -> Response:
    who = _key_keeper(request)
    body = http.read(request, NewKey)
    key, secret = db.retrying(
        request.app.state.services,
        lambda s: apikeys.issue(s, users.get(s, who.user_id), name=body.name, scopes=body.scopes),
    )
    return JSONResponse({**_key(key), "secret": secret}, 201)


def revoke_key(request: Request) -> Response:
    who = _key_keeper(request)
    owner = None if who.can(Permission.USERS_WRITE) else who.user_id
    db.retrying(request.app.state.services, lambda s: apikeys.revoke(s, request.path_params["id"], owner_id=owner))
    return Response(status_code=204)


def _key_keeper(request: Request) -> Principal:
    """Someone with all rights of their role: a key with narrow scopes must not make itself a wider one."""
    who = logins.require(request)
    if not who.unrestricted:
        raise Forbidden("A key with narrowed scopes can't manage keys.")
    return who


def user_document(user: User) -> dict[str, Any]:
    """An account as the API shows it."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "created_at": http.time(user.created_at),
        "email_verified_at": http.time(user.email_verified_at),
        "disabled_at": http.time(user.disabled_at),
    }


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "created_at": http.time(key.created_at),
        "last_used_at": http.time(key.last_used_at),
    }


routes = [
    Route("/session", create_session, methods=["POST"]),
    Route("/session", delete_session, methods=["DELETE"]),
    Route("/me", me),
    Route("/users", list_users),
    Route("/users", create_user, methods=["POST"]),
    Route("/users/{id}", change_user, methods=["PATCH"]),
    Route("/api-keys", list_keys),
    Route("/api-keys", create_key, methods=["POST"]),
    Route("/api-keys/{id}", revoke_key, methods=["DELETE"]),
]
