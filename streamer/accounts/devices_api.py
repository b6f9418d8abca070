"""Where somebody is signed in, and signing out there, over JSON. In person only."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import devices, doors, login_sessions, logins
from streamer.accounts.tables import LoginSession
from streamer.operations import Access, Door, Id, Listed, Operation, Owner, Time


class Device(TypedDict):
    """Where somebody is signed in; `current` is the session that asks."""

    id: Id
    device: str
    user_agent: str
    address: str
    created_at: Time
    last_seen_at: Time
    current: bool


def list_sessions(request: Request) -> Response:
    """Those that are live, the one used last first."""
    who, services = logins.in_person(request), http.services(request)
    with db.reading(services) as s:
        rows = login_sessions.live(s, services.config.accounts, who.user_id)
    return JSONResponse({"data": [_document(row, who.session_id) for row in rows]})


def end_session(request: Request) -> Response:
    """One of them."""
    who = logins.in_person(request)
    login_sessions.end_one(http.services(request), who.user_id, request.path_params["id"])
    return Response(status_code=204)


def end_others(request: Request) -> Response:
    """All but this one."""
    who = logins.in_person(request)
    login_sessions.end_all(http.services(request), who.user_id, but=who.session_id)
    return Response(status_code=204)


def _document(row: LoginSession, own_id: str | None) -> Device:
    return {
        "id": row.id,
        "device": devices.name(row.user_agent),
        "user_agent": row.user_agent,
        "address": row.address,
        "created_at": http.time(row.created_at),
        "last_seen_at": http.time(row.last_seen_at),
        "current": row.id == own_id,
    }


_SESSION = Access(Door.PERSON, owner=Owner.ONLY)

routes = [
    doors.route(
        "/me/sessions", list_sessions, Operation("GET", "List where you are signed in", doors.PERSON, Listed[Device])
    ),
    doors.route("/me/sessions", end_others, Operation("DELETE", "Sign out everywhere else", doors.PERSON, status=204)),
    doors.route("/me/sessions/{id}", end_session, Operation("DELETE", "Sign out somewhere", _SESSION, status=204)),
]
