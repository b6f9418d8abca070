"""The front page and the page of one film.

A film is reached by a playback id, and the same decision as for playing it (`delivery.decisions`) says who gets its page, so that the
title of a private film is shown to nobody else. While a film is being prepared its page asks `…/state`, which is always 200: asking for a
session instead would be refused every two seconds.
"""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from streamer import db, ids
from streamer.accounts import logins
from streamer.accounts.logins import Principal
from streamer.catalog import documents
from streamer.catalog.documents import AssetDocument
from streamer.catalog.tables import Asset, PlaybackId
from streamer.delivery import decisions
from streamer.delivery.policies import Verdict
from streamer.errors import Forbidden, NotFound, Unauthenticated
from streamer.services import Services
from streamer.site import openings
from streamer.site.rendering import render
from streamer.ui.pages import clock, day


def landing(request: Request) -> Response:
    """What is on."""
    services: Services = request.app.state.services
    films = openings.on_now(services)
    return render(request, logins.principal(request), "films/landing.html", films=films)


def watch(request: Request) -> Response:
    """The player and the film's title; private films lead visitors to the sign-in page and back."""
    who = logins.principal(request)
    try:
        film = _film(request, who)
    except Unauthenticated:
        return RedirectResponse(f"/admin/sign-in?next={request.url.path}", 303)
    return render(
        request,
        who,
        "films/watch.html",
        playback_id=request.path_params["playback_id"],
        title=film["title"],
        facts=_facts(film),
        state=_state(film),
    )


def state(request: Request) -> Response:
    """Whether the film plays by now, and how far its preparation is. Never says why one failed: that is its owner's to read."""
    return JSONResponse(_state(_film(request, logins.principal(request))), headers={"Cache-Control": "no-store"})


def _film(request: Request, who: Principal | None) -> AssetDocument:
    services: Services = request.app.state.services
    playback_id = request.path_params["playback_id"]
    if film := openings.to_everybody(services, playback_id):
        return film
    with db.reading(services) as s:
        return documents.asset(services, s, _allowed(services, s, playback_id, who))


def _allowed(services: Services, s: Session, playback_id: str, who: Principal | None) -> Asset:
    playback = s.get(PlaybackId, playback_id) if ids.is_id(playback_id) else None
    asset = s.get(Asset, playback.asset_id) if playback else None
    if playback is None or asset is None:
        raise NotFound("There is no film under this link.")
    match decisions.decide(s, services.config.delivery, playback, asset, who).verdict:
        case Verdict.PLAY:
            return asset
        case Verdict.SIGN_IN:
            raise Unauthenticated("This film is private. Sign in to watch it.")
        case Verdict.FORBIDDEN:
            raise Forbidden(
                "This film is private, and not for what you are signed in by. Its owner or an administrator can let you watch it."
            )
        case _:
            raise NotFound("There is no film under this link.")


def _state(film: AssetDocument) -> dict[str, Any]:
    return {"playable": film["playable"], "processing": film["processing"], "progress": film["progress"]}


def _facts(film: AssetDocument) -> str:
    short_side = min(film["width"] or 0, film["height"] or 0)
    parts = (
        clock(film["duration_s"]),
        f"{short_side}p" if short_side else "",
        day(datetime.fromisoformat(film["created_at"])),
    )
    return " · ".join(part for part in parts if part)


routes = [
    Route("/", landing),
    Route("/watch/{playback_id}", watch),
    Route("/watch/{playback_id}/state", state),
]
