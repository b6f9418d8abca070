"""Invitations, sign-up, confirmations, new passwords and addresses over JSON.

What asks for a letter is answered 202, the same whether an address is known or not. None of it needs a session except where somebody acts for
themselves or for others.
"""

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, limits, logins, throttle
from streamer.accounts.api import SessionDocument, UserDocument, session_response, user_document
from streamer.accounts.limits import Kind
from streamer.accounts.roles import Permission
from streamer.membership import addresses, confirmations, invitations, own_password, persons_api, recovery, signups
from streamer.membership.oidc import api as oidc
from streamer.membership.tables import Invitation
from streamer.operations import Id, Listed, Operation, Time


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


class InvitationDocument(TypedDict):
    """An invitation that waits; its link is only in the letter."""

    id: Id
    email: str
    role: str
    invited_by: str | None
    created_at: Time
    expires_at: Time


class OnItsWay(TypedDict):
    """The same whether the address is known or not."""

    detail: str


class Confirmed(TypedDict):
    """What the link was for, and the account as it is now."""

    confirmed: str
    user: UserDocument


def list_invitations(request: Request) -> Response:
    """Those that can be accepted."""
    with db.reading(http.services(request)) as s:
        return JSONResponse({"data": [document(row) for row in invitations.pending(s)]})


def create_invitation(request: Request) -> Response:
    who = logins.require(request)
    body = http.read(request, NewInvitation)
    made = invitations.invite(http.services(request), body.email, body.role, by=who.user_id, held=who.permissions)
    return JSONResponse(document(made), 201)


def revoke_invitation(request: Request) -> Response:
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
    told: Confirmed = {"confirmed": purpose, "user": user_document(user)}
    return JSONResponse(told)


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


def document(row: Invitation) -> InvitationDocument:
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
    told: OnItsWay = {"detail": "If that address can be written to, a letter is on its way."}
    return JSONResponse(told, 202)


_READ, _WRITE = doors.allowed(Permission.USERS_READ), doors.allowed(Permission.USERS_WRITE)

routes = [
    *persons_api.routes,
    *oidc.routes,
    doors.route(
        "/invitations", list_invitations, Operation("GET", "List invitations", _READ, Listed[InvitationDocument])
    ),
    doors.route(
        "/invitations",
        create_invitation,
        Operation("POST", "Invite somebody", _WRITE, InvitationDocument, 201, body=NewInvitation, refuses=(409,)),
    ),
    doors.route(
        "/invitations/accept",
        accept_invitation,
        Operation(
            "POST", "Accept an invitation", doors.OPEN, UserDocument, 201, body=Acceptance, refuses=(403, 409, 410)
        ),
    ),
    doors.route(
        "/invitations/{id}",
        revoke_invitation,
        Operation("DELETE", "Take an invitation back", _WRITE, status=204, refuses=(409,)),
    ),
    doors.route(
        "/sign-ups", sign_up, Operation("POST", "Sign up", doors.OPEN, OnItsWay, 202, body=SignUp, refuses=(403,))
    ),
    doors.route(
        "/confirmations",
        confirm,
        Operation("POST", "Confirm an address", doors.OPEN, Confirmed, body=Confirmation, refuses=(403, 409, 410)),
    ),
    doors.route(
        "/password-resets",
        forgotten,
        Operation("POST", "Ask for a new password", doors.OPEN, OnItsWay, 202, body=Forgotten, refuses=(403,)),
    ),
    doors.route(
        "/password-resets/confirm",
        reset_password,
        Operation("POST", "Set a new password", doors.OPEN, status=204, body=NewPassword, refuses=(403, 410)),
    ),
    doors.route(
        "/me/password",
        change_password,
        Operation("POST", "Change your password", doors.PERSON, SessionDocument, body=OwnPassword),
    ),
    doors.route(
        "/me/verification",
        verify_address,
        Operation("POST", "Have your address confirmed", doors.PERSON, OnItsWay, 202, refuses=(409,)),
    ),
    doors.route(
        "/me/address",
        change_address,
        Operation("POST", "Change your address", doors.PERSON, OnItsWay, 202, body=NewAddress, refuses=(409,)),
    ),
]
