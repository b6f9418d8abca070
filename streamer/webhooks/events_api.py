"""`GET /events?after=`: what happened, oldest first, for readers who remember the last number they saw.

A reader that goes on from `next_after` gets every event once, also those whose transaction took longer than its neighbours'.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer import db, http
from streamer.accounts import logins
from streamer.accounts.roles import Permission
from streamer.errors import Gone, Invalid
from streamer.events import outbox
from streamer.events.types import EventType

_DIGITS = 18


def list_events(request: Request) -> Response:
    logins.require(request, Permission.EVENTS_READ)
    after = _number(request.query_params.get("after", "0"))
    limit, types = http.limit(request), _types(request.query_params.getlist("type"))
    with db.reading(request.app.state.services) as s:
        head = outbox.head(s)  # before the rows: what is numbered meanwhile is for the next request
        rows = outbox.between(s, after, head, limit + 1, types)
        first = outbox.first_kept(s)  # after them: what was purged meanwhile is told
    if 0 < after < first - 1:
        raise Gone(
            f"Events up to {first - 1} are no longer kept. Look at what there is, then go on with after={first - 1}.",
            code="events_purged",
        )
    shown, more = rows[:limit], len(rows) > limit
    last = shown[-1].sequence if more else max(after, head)
    return JSONResponse({"data": [outbox.document(row) for row in shown], "next_after": last, "more": more})


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise Invalid("after must be the sequence of an event.", errors=[{"pointer": "/after", "detail": text[:40]}])
    return int(text)


def _types(names: list[str]) -> list[str]:
    if unknown := set(names) - set(EventType):
        raise Invalid(
            f"type must be one of {', '.join(EventType)}.", errors=[{"pointer": "/type", "detail": min(unknown)[:40]}]
        )
    return names


routes = [Route("/events", list_events)]
