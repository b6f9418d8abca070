"""The second factor over JSON: one's own, set up in person, and somebody else's, taken away when they have lost it."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, limits, logins, second_factor, throttle, totp, users
from streamer.accounts.api import SessionDocument, session_response
from streamer.accounts.limits import Kind
from streamer.accounts.roles import Permission
from streamer.operations import Operation

T = TypeVar("T")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(_Body):
    challenge: str
    code: str


class Password(_Body):
    password: str


class Code(_Body):
    code: str


class SecondFactor(TypedDict):
    """Whether codes are asked for at the sign-in."""

    on: bool
    recovery_codes_left: int


class AppSecret(TypedDict):
    """What the app on the telephone is given; `uri` is the same for a QR code."""

    secret: str
    uri: str


class RecoveryCodes(TypedDict):
    """Each opens the account once, without the app. They are shown this once."""

    recovery_codes: list[str]


@limits.counted(Kind.SIGN_IN)
def answer_challenge(request: Request) -> Response:
    """The second half of signing in."""
    body = http.read(request, Answer)
    return session_response(request, logins.answer(request, body.challenge, body.code))


def read(request: Request) -> Response:
    """Whether one's own is on, and how many recovery codes are left."""
    who = logins.in_person(request, enrolling=True)
    with db.reading(http.services(request)) as s:
        told: SecondFactor = {
            "on": second_factor.is_on(s, who.user_id),
            "recovery_codes_left": second_factor.codes_left(s, who.user_id),
        }
    return JSONResponse(told)


def begin(request: Request) -> Response:
    """A secret for the app, for whoever knows the password. Nothing asks for codes before they are confirmed."""
    who, services = logins.in_person(request, enrolling=True), http.services(request)
    logins.check_password(request, who, http.read(request, Password).password)
    secret = db.retrying(services, lambda s: second_factor.begin(s, services.secrets, users.get(s, who.user_id)))
    told: AppSecret = {"secret": secret, "uri": totp.uri(secret, who.email)}
    return JSONResponse(told, 201)


def confirm(request: Request) -> Response:
    """On from now. The recovery codes are shown this once."""
    who, services = logins.in_person(request, enrolling=True), http.services(request)
    code = http.read(request, Code).code
    throttle.count_code(services, who.user_id)
    codes = db.retrying(services, lambda s: second_factor.confirm(s, services.secrets, who.user_id, code))
    throttle.forgive_codes(services, who.user_id)
    told: RecoveryCodes = {"recovery_codes": codes}
    return JSONResponse(told)


def renew_codes(request: Request) -> Response:
    """New recovery codes, for a code."""
    who = logins.in_person(request)
    codes = _with_code(request, who.user_id, lambda s: second_factor.renew_codes(s, who.user_id))
    told: RecoveryCodes = {"recovery_codes": codes}
    return JSONResponse(told)


def turn_off(request: Request) -> Response:
    """Off, for a code."""
    who = logins.in_person(request)
    _with_code(request, who.user_id, lambda s: second_factor.turn_off(s, who.user_id))
    return Response(status_code=204)


def take_away(request: Request) -> Response:
    """Of somebody who has lost the app and the codes, and was recognised by whoever does this."""
    who, user_id = logins.require(request), request.path_params["id"]
    work = partial(second_factor.take_away, user_id=user_id, held=who.permissions, by=who.user_id)
    db.retrying(http.services(request), work)
    return Response(status_code=204)


def _with_code(request: Request, user_id: str, work: Callable[[Session], T]) -> T:
    """`work` in the transaction that uses a code up."""
    services, code = http.services(request), http.read(request, Code).code
    throttle.count_code(services, user_id)

    def write(s: Session) -> T:
        second_factor.check(s, services.secrets, user_id, code)
        return work(s)

    done = db.retrying(services, write)
    throttle.forgive_codes(services, user_id)
    return done


routes = [
    doors.route(
        "/session/second-factor",
        answer_challenge,
        Operation("POST", "Sign in, second half", doors.OPEN, SessionDocument, 201, body=Answer, refuses=(401, 403)),
    ),
    doors.route("/me/second-factor", read, Operation("GET", "Read your second factor", doors.ENROLLING, SecondFactor)),
    doors.route(
        "/me/second-factor",
        begin,
        Operation("POST", "Begin a second factor", doors.ENROLLING, AppSecret, 201, body=Password, refuses=(409,)),
    ),
    doors.route(
        "/me/second-factor/confirm",
        confirm,
        Operation("POST", "Turn your second factor on", doors.ENROLLING, RecoveryCodes, body=Code, refuses=(409,)),
    ),
    doors.route(
        "/me/second-factor/recovery-codes",
        renew_codes,
        Operation("POST", "Make new recovery codes", doors.PERSON, RecoveryCodes, body=Code, refuses=(409,)),
    ),
    doors.route(
        "/me/second-factor/off",
        turn_off,
        Operation("POST", "Turn your second factor off", doors.PERSON, status=204, body=Code, refuses=(409,)),
    ),
    doors.route(
        "/users/{id}/second-factor",
        take_away,
        Operation(
            "DELETE",
            "Take somebody's second factor away",
            doors.allowed(Permission.USERS_WRITE),
            status=204,
            refuses=(409,),
        ),
    ),
]
