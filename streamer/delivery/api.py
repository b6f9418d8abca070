"""Playback sessions over JSON. Opening one is how anything is played; heartbeats run on the event loop and, as a rule, ask Redis alone."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http, ids
from streamer.accounts import doors, limits, logins
from streamer.accounts.limits import Kind
from streamer.accounts.roles import Permission
from streamer.catalog.tables import Stage
from streamer.config import Delivery
from streamer.delivery import cdn, sessions
from streamer.delivery.sessions import Beat, Ticket
from streamer.delivery.tables import PlaybackSession
from streamer.errors import Unauthenticated
from streamer.operations import Id, Operation, Page, PageQuery, Time, one_of
from streamer.services import Services


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewSession(_Body):
    playback_id: str = Field(max_length=32)


class Heartbeat(_Body):
    position_s: float = Field(default=0.0, ge=0, le=1e7)
    state: Literal["playing", "paused", "buffering", "ended"] = "playing"
    stage: Stage = Stage.FINAL  # what the player plays; below final it wants to hear of more


class Opened(TypedDict):
    """What a player needs: the film's address, which holds the right to play it, and when to ask again."""

    id: Id
    manifest_url: str
    stage: Annotated[str, one_of(Stage)] | None
    available_s: float | None
    duration_s: float | None
    poster_url: str | None
    expires_at: Time
    heartbeat_interval_s: int
    token_renew_after_s: int


class Pulse(TypedDict):
    """A player that is told `alive: false` stops. `manifest_url` is there when the address changed or more can be watched."""

    alive: bool
    expires_at: Time | None
    manifest_url: str | None
    stage: Annotated[str, one_of(Stage)] | None
    available_s: float | None
    heartbeat_interval_s: int


class PlaybackSessionDocument(TypedDict):
    """Who was let in to what; `max_short_side` in pixels."""

    id: Id
    playback_id: Id
    asset_id: Id
    version_id: Id
    user_id: Id | None
    max_short_side: int
    created_at: Time
    expires_at: Time
    ended_at: Time | None
    killed_at: Time | None


class SessionQuery(PageQuery, total=False):
    """Which sessions."""

    asset_id: str


@limits.counted(Kind.PLAYBACK)
def create_session(request: Request) -> Response:
    """Anyone may try; the playback id's policy decides. A login cookie without its CSRF proof counts as nobody."""
    services: Services = request.app.state.services
    body = http.read(request, NewSession)
    principal = logins.principal(request)
    try:
        ticket = sessions.open_session(services, principal, body.playback_id)
    except Unauthenticated:
        logins.require(request)  # says so when it was only the proof that was missing
        raise
    poster = (
        cdn.poster_url(services.config, services.secrets, ticket.path, here=_here(request)) if ticket.poster else None
    )
    config = services.config.delivery
    document: Opened = {
        "id": ticket.sid,
        "manifest_url": _manifest_url(request, ticket, ticket.stage),
        "stage": ticket.stage,
        "available_s": ticket.available_s,
        "duration_s": ticket.duration_s,
        "poster_url": poster,
        "expires_at": _time(ticket.exp),
        "heartbeat_interval_s": _interval(config, ticket.stage),
        "token_renew_after_s": ticket.exp - int(time.time()) - sessions.renew_before_s(config),
    }
    return JSONResponse(document, 201, {"Cache-Control": "no-store"})


@limits.counted(Kind.HEARTBEATS)
async def heartbeat(request: Request) -> Response:
    """A player that is told `alive: false` stops. `manifest_url` is there when the token was renewed or a better stage than the player's can
    be watched; `stage` is null when nothing more of the film will come."""
    services: Services = request.app.state.services
    sid = request.path_params["id"]
    body = await http.read_async(request, Heartbeat)
    beat = await sessions.beat(services, sid, body.model_dump())
    if beat is None:
        beat = await run_in_threadpool(sessions.recover, services, sid)
    ticket = await _ticket(request, beat, sid, body.stage) if beat.alive else None
    exp, stage = (ticket.exp, ticket.stage) if ticket else (beat.exp, body.stage)
    news = ticket is not None and (exp != beat.exp or _is_better(stage, body.stage))
    document: Pulse = {
        "alive": beat.alive,
        "expires_at": _time(exp) if exp else None,
        "manifest_url": _manifest_url(request, ticket, stage or body.stage) if ticket and news else None,
        "stage": stage,
        "available_s": ticket.available_s if ticket else None,
        "heartbeat_interval_s": _interval(services.config.delivery, stage),
    }
    return JSONResponse(document, headers={"Cache-Control": "no-store"})


async def _ticket(request: Request, beat: Beat, sid: str, playing: Stage) -> Ticket | None:
    """A new one when the token nears its end, and for a film that is still being made the present one. Else nobody is asked."""
    services: Services = request.app.state.services
    if beat.exp - time.time() <= sessions.renew_before_s(services.config.delivery):
        principal = await logins.principal_async(request)
        if renewed := await run_in_threadpool(sessions.renew, services, sid, principal):
            return renewed
    return None if playing is Stage.FINAL else await run_in_threadpool(sessions.look, services, sid)


def _is_better(stage: Stage | None, playing: Stage) -> bool:
    order = list(Stage)
    return stage is not None and order.index(stage) > order.index(playing)


def _interval(config: Delivery, stage: Stage | None) -> int:
    return config.growing_heartbeat_s if stage in (Stage.START, Stage.GROW) else config.heartbeat_s


@limits.counted(Kind.HEARTBEATS)
def end_session(request: Request) -> Response:
    sessions.end(request.app.state.services, request.path_params["id"])
    return Response(status_code=204)


def kill_session(request: Request) -> Response:
    sessions.kill(request.app.state.services, request.path_params["id"])
    return Response(status_code=204)


def list_sessions(request: Request) -> Response:
    query = select(PlaybackSession)
    if asset_id := request.query_params.get("asset_id"):
        query = query.where(PlaybackSession.asset_id == (asset_id if ids.is_id(asset_id) else ""))
    with db.reading(request.app.state.services) as s:
        rows, cursor = http.page(request, s, query, PlaybackSession.id)
    return JSONResponse({"data": [_session(row) for row in rows], "next_cursor": cursor})


def show_session(request: Request) -> Response:
    with db.reading(request.app.state.services) as s:
        row = sessions.find(s, request.path_params["id"])
    return JSONResponse(_session(row))


def _session(row: PlaybackSession) -> PlaybackSessionDocument:
    return {
        "id": row.id,
        "playback_id": row.playback_id,
        "asset_id": row.asset_id,
        "version_id": row.version_id,
        "user_id": row.user_id,
        "max_short_side": row.cap,
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
        "ended_at": row.ended_at.isoformat() if row.ended_at else None,
        "killed_at": row.killed_at.isoformat() if row.killed_at else None,
    }


def _manifest_url(request: Request, ticket: Ticket, stage: Stage | None) -> str:
    services: Services = request.app.state.services
    return cdn.manifest_url(
        services.config,
        services.secrets,
        ticket.path,
        sid=ticket.sid,
        exp=ticket.exp,
        cap=ticket.cap,
        stage=stage or Stage.FINAL,
        here=_here(request),
    )


def _here(request: Request) -> str:
    """This server as the client knows it; the application has checked the Host header by now."""
    services: Services = request.app.state.services
    return services.config.server.public_url or f"{request.url.scheme}://{request.url.netloc}"


def _time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


_READ, _WRITE = doors.allowed(Permission.SESSIONS_READ), doors.allowed(Permission.SESSIONS_WRITE)

routes = [
    doors.route(
        "/playback-sessions",
        create_session,
        Operation("POST", "Play a film", doors.OPEN, Opened, 201, body=NewSession, refuses=(401, 403, 404, 409)),
    ),
    doors.route(
        "/playback-sessions",
        list_sessions,
        Operation("GET", "List who plays what", _READ, Page[PlaybackSessionDocument], query=SessionQuery),
    ),
    doors.route(
        "/playback-sessions/{id}",
        show_session,
        Operation("GET", "Read a playback session", _READ, PlaybackSessionDocument),
    ),
    doors.route(
        "/playback-sessions/{id}", end_session, Operation("DELETE", "End what you play", doors.OPEN, status=204)
    ),
    doors.route(
        "/playback-sessions/{id}/heartbeat",
        heartbeat,
        Operation("POST", "Say that it still plays", doors.OPEN, Pulse, body=Heartbeat),
    ),
    doors.route(
        "/playback-sessions/{id}/kill",
        kill_session,
        Operation("POST", "End what somebody plays", _WRITE, status=204),
    ),
]
