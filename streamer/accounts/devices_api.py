"""Where somebody is signed in, and signing out there, over JSON. In person only."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer import db, http
from streamer.accounts import devices, login_sessions, logins
from streamer.accounts.tables import LoginSession


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


def _document(row: LoginSession, own_id: str | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "device": devices.name(row.user_agent),
        "user_agent": row.user_agent,
        "address": row.address,
        "created_at": http.time(row.created_at),
        "last_seen_at": http.time(row.last_seen_at),
        "current": row.id == own_id,
    }


routes = [
    Route("/me/sessions", list_sessions),
    Route("/me/sessions", end_others, methods=["DELETE"]),
    Route("/me/sessions/{id}", end_session, methods=["DELETE"]),
]
