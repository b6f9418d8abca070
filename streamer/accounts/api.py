"""Sessions, the signed-in account, users and API keys over JSON."""

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import cache, db, http
from streamer.accounts import apikeys, doors, limits, login_sessions, logins, users
from streamer.accounts.limits import Kind
from streamer.accounts.logins import SignedIn
from streamer.accounts.roles import Permission
from streamer.accounts.tables import ApiKey, User
from streamer.operations import Access, Door, Id, Operation, Owner, Page, PageQuery, Time


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


class UserDocument(TypedDict):
    """An account."""

    id: Id
    email: str
    name: str
    role: str
    created_at: Time
    email_verified_at: Time | None
    disabled_at: Time | None


class Account(UserDocument):
    """The account that asks, and what it may do this way. The token is null for a key."""

    permissions: list[str]
    csrf_token: str | None


class SessionDocument(TypedDict):
    """A session that begins, with its cookie. Requests that change something carry the token in X-CSRF-Token."""

    user: UserDocument
    csrf_token: str


class Key(TypedDict):
    """An API key, without its secret."""

    id: Id
    name: str
    scopes: list[str]
    created_at: Time
    last_used_at: Time | None


class KeyWithSecret(Key):
    """A key that was made now."""

    secret: Annotated[str, Field(description="What goes behind `Authorization: Bearer`. It is shown this once.")]


@limits.counted(Kind.SIGN_IN)
def create_session(request: Request) -> Response:
    body = http.read(request, SignIn)
    return session_response(request, logins.sign_in(request, body.email, body.password))


def session_response(request: Request, signed_in: SignedIn, status: int = 201) -> Response:
    """The cookie of a new session, and what goes with it."""
    document: SessionDocument = {"user": user_document(signed_in.user), "csrf_token": signed_in.csrf_token}
    response = JSONResponse(document, status)
    logins.set_cookie(request, response, signed_in)
    return response


def delete_session(request: Request) -> Response:
    logins.sign_out(request)
    response = Response(status_code=204)
    logins.clear_cookie(request, response)
    return response


def me(request: Request) -> Response:
    who = logins.require(request)
    with db.reading(http.services(request)) as s:
        user = users.get(s, who.user_id)
    told: Account = {**user_document(user), "permissions": sorted(who.permissions), "csrf_token": who.csrf_token}
    return JSONResponse(told)


def list_users(request: Request) -> Response:
    services, asked = http.services(request), f"{http.cursor(request) or ''} {http.limit(request)}"

    def make() -> tuple[str, bool]:
        with db.reading(services) as s:
            rows, cursor = http.page(request, s, users.listed(), User.id)
        return json.dumps({"data": [user_document(row) for row in rows], "next_cursor": cursor}), True

    return http.kept(*services.cache.text("people", asked, cache.listed("people"), make))


def create_user(request: Request) -> Response:
    held = logins.require(request).permissions
    body = http.read(request, NewUser)
    services = request.app.state.services
    fields = body.model_dump()
    user = db.retrying(services, lambda s: users.create(s, services.config.accounts, held=held, **fields))
    return JSONResponse(user_document(user), 201)


def change_user(request: Request) -> Response:
    who = logins.require(request)
    body = http.read(request, UserChange)
    services, user_id = request.app.state.services, request.path_params["id"]

    def change(s: Session) -> User:
        if body.role is not None:
            users.set_role(s, user_id, body.role, who.permissions, who.user_id)
        if body.disabled is not None:
            users.set_disabled(s, user_id, body.disabled, who.permissions, who.user_id)
        return users.get(s, user_id)

    user = db.retrying(services, change)
    if body.disabled:
        login_sessions.end_all(services, user.id)
    return JSONResponse(user_document(user))


def list_keys(request: Request) -> Response:
    who = logins.require(request)
    mine = select(ApiKey).where(ApiKey.user_id == who.user_id, ApiKey.revoked_at.is_(None))
    with db.reading(request.app.state.services) as s:
        rows, cursor = http.page(request, s, mine, ApiKey.id)
    return JSONResponse({"data": [_key(row) for row in rows], "next_cursor": cursor})


def create_key(request: Request) -> Response:
    who = logins.require(request)
    body = http.read(request, NewKey)
    key, secret = db.retrying(
        request.app.state.services,
        lambda s: apikeys.issue(s, users.get(s, who.user_id), name=body.name, scopes=body.scopes),
    )
    made: KeyWithSecret = {**_key(key), "secret": secret}
    return JSONResponse(made, 201)


def revoke_key(request: Request) -> Response:
    who = logins.require(request)
    owner = None if who.can(Permission.USERS_WRITE) else who.user_id
    db.retrying(request.app.state.services, lambda s: apikeys.revoke(s, request.path_params["id"], owner_id=owner))
    return Response(status_code=204)


def user_document(user: User) -> UserDocument:
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


def _key(key: ApiKey) -> Key:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "created_at": http.time(key.created_at),
        "last_used_at": http.time(key.last_used_at),
    }


_READ, _WRITE = doors.allowed(Permission.USERS_READ), doors.allowed(Permission.USERS_WRITE)
_KEY = Access(Door.WHOLE, Permission.USERS_WRITE, Owner.TOO, seen=Permission.USERS_WRITE)

routes = [
    doors.route(
        "/session",
        create_session,
        Operation("POST", "Sign in", doors.OPEN, SessionDocument, 201, body=SignIn, refuses=(401, 403)),
    ),
    doors.route("/session", delete_session, Operation("DELETE", "Sign out", doors.ENROLLING, status=204)),
    doors.route("/me", me, Operation("GET", "Who is asking", doors.ACCOUNT, Account)),
    doors.route("/users", list_users, Operation("GET", "List people", _READ, Page[UserDocument], query=PageQuery)),
    doors.route(
        "/users",
        create_user,
        Operation("POST", "Add somebody", _WRITE, UserDocument, 201, body=NewUser, refuses=(409,)),
    ),
    doors.route(
        "/users/{id}",
        change_user,
        Operation(
            "PATCH", "Change somebody's role, or shut them out", _WRITE, UserDocument, body=UserChange, refuses=(409,)
        ),
    ),
    doors.route(
        "/api-keys", list_keys, Operation("GET", "List your API keys", doors.WHOLE, Page[Key], query=PageQuery)
    ),
    doors.route(
        "/api-keys", create_key, Operation("POST", "Make an API key", doors.WHOLE, KeyWithSecret, 201, body=NewKey)
    ),
    doors.route("/api-keys/{id}", revoke_key, Operation("DELETE", "Revoke an API key", _KEY, status=204)),
]
