"""Invitations, sign-up, confirmations, new passwords and addresses over JSON.

What asks for a letter is answered 202, the same whether an address is known or not. None of it needs a session except where somebody acts for
themselves or for others.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer import db, http
from streamer.accounts import limits, logins, throttle
from streamer.accounts.api import session_response, user_document
from streamer.accounts.limits import Kind
from streamer.accounts.roles import Permission
from streamer.membership import addresses, confirmations, invitations, own_password, recovery, signups
from streamer.membership.tables import Invitation


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewInvitation(_Body):
    email: str
    role: str


class Acceptance(_Body):
    token: str
    name: str
    password: str


class SignUp(_Body):
    email: str
    name: str
    password: str


class Confirmation(_Body):
    token: str


class Forgotten(_Body):
    email: str


class NewPassword(_Body):
    token: str
    password: str


class OwnPassword(_Body):
    password: str
    new_password: str


class NewAddress(_Body):
    email: str
    password: str


def list_invitations(request: Request) -> Response:
    """Those that can be accepted."""
    logins.require(request, Permission.USERS_READ)
    with db.reading(http.services(request)) as s:
        return JSONResponse({"data": [document(row) for row in invitations.pending(s)]})


def create_invitation(request: Request) -> Response:
    who = logins.require(request, Permission.USERS_WRITE)
    body = http.read(request, NewInvitation)
    made = invitations.invite(http.services(request), body.email, body.role, by=who.user_id, held=who.permissions)
    return JSONResponse(document(made), 201)


def revoke_invitation(request: Request) -> Response:
    logins.require(request, Permission.USERS_WRITE)
    db.retrying(http.services(request), lambda s: invitations.revoke(s, request.path_params["id"]))
    return Response(status_code=204)


@limits.counted(Kind.LETTERS)
def accept_invitation(request: Request) -> Response:
    logins.refuse_foreign(request)
    body = http.read(request, Acceptance)
    user = invitations.accept(http.services(request), body.token, name=body.name, password=body.password)
    return JSONResponse(user_document(user), 201)


@limits.counted(Kind.LETTERS)
def sign_up(request: Request) -> Response:
    logins.refuse_foreign(request)
    body, services = http.read(request, SignUp), http.services(request)
    signups.refuse_unless_open(services)
    count_letter(request, body.email)
    signups.ask(services, email=body.email, name=body.name, password=body.password)
    return _on_its_way()


@limits.counted(Kind.LETTERS)
def confirm(request: Request) -> Response:
    logins.refuse_foreign(request)
    body = http.read(request, Confirmation)
    purpose, user = confirmations.confirm(http.services(request), body.token)
    return JSONResponse({"confirmed": purpose, "user": user_document(user)})


@limits.counted(Kind.LETTERS)
def forgotten(request: Request) -> Response:
    logins.refuse_foreign(request)
    body, services = http.read(request, Forgotten), http.services(request)
    count_letter(request, body.email)
    recovery.ask(services, body.email)
    return _on_its_way()


@limits.counted(Kind.LETTERS)
def reset_password(request: Request) -> Response:
    logins.refuse_foreign(request)
    body = http.read(request, NewPassword)
    recovery.reset(http.services(request), body.token, body.password)
    return Response(status_code=204)


def change_password(request: Request) -> Response:
    """For whoever knows the old one. All sessions end; the answer opens a new one here."""
    who, body = logins.in_person(request), http.read(request, OwnPassword)
    logins.check_password(request, who, body.password)
    user = own_password.change(http.services(request), who.user_id, body.password, body.new_password)
    return session_response(request, logins.renew(request, user), 200)


@limits.counted(Kind.LETTERS)
def verify_address(request: Request) -> Response:
    who = logins.in_person(request)
    count_letter(request, who.email)
    addresses.ask_to_verify(http.services(request), who.user_id)
    return _on_its_way()


@limits.counted(Kind.LETTERS)
def change_address(request: Request) -> Response:
    who = logins.in_person(request)
    body = http.read(request, NewAddress)
    count_letter(request, body.email)
    logins.check_password(request, who, body.password)
    addresses.ask_to_change(http.services(request), who.user_id, body.email)
    return _on_its_way()


def count_letter(request: Request, email: str) -> None:
    """RateLimited when whoever asks has asked for too many letters, known address or not."""
    throttle.count_letter(http.services(request), email, logins.client_address(request))


def document(row: Invitation) -> dict[str, Any]:
    """An invitation as the API shows it; its link is only in the letter."""
    return {
        "id": row.id,
        "email": row.email,
        "role": row.role,
        "invited_by": row.invited_by,
        "created_at": http.time(row.created_at),
        "expires_at": http.time(row.expires_at),
    }


def _on_its_way() -> Response:
    return JSONResponse({"detail": "If that address can be written to, a letter is on its way."}, 202)


routes = [
    Route("/invitations", list_invitations),
    Route("/invitations", create_invitation, methods=["POST"]),
    Route("/invitations/accept", accept_invitation, methods=["POST"]),
    Route("/invitations/{id}", revoke_invitation, methods=["DELETE"]),
    Route("/sign-ups", sign_up, methods=["POST"]),
    Route("/confirmations", confirm, methods=["POST"]),
    Route("/password-resets", forgotten, methods=["POST"]),
    Route("/password-resets/confirm", reset_password, methods=["POST"]),
    Route("/me/password", change_password, methods=["POST"]),
    Route("/me/verification", verify_address, methods=["POST"]),
    Route("/me/address", change_address, methods=["POST"]),
]
