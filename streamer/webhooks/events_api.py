"""`GET /events?after=`: what happened, oldest first, for readers who remember the last number they saw.

A reader that goes on from `next_after` gets every event once, also those whose transaction took longer than its neighbours'.
"""

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors
from streamer.accounts.roles import Permission
from streamer.errors import Gone, unfit
from streamer.events import outbox
from streamer.events.outbox import EventDocument
from streamer.events.types import EventType
from streamer.operations import Operation

_DIGITS = 18


class Events(TypedDict):
    """Go on with `after` being `next_after`; `more` are there already."""

    data: list[EventDocument]
    next_after: int
    more: bool


class EventQuery(TypedDict, total=False):
    """From where on, and of which kinds."""

    after: Annotated[int, Field(ge=0, lt=10**_DIGITS, description="The number of the last event that was seen.")]
    limit: Annotated[int, Field(ge=1, le=http.PAGE_MAX)]
    type: list[EventType]


def list_events(request: Request) -> Response:
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
    last = (shown[-1].sequence or after) if more else max(after, head)
    told: Events = {"data": [outbox.document(row) for row in shown], "next_after": last, "more": more}
    return JSONResponse(told)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise unfit("after", "must be the sequence of an event, a whole number", text)
    return int(text)


def _types(names: list[str]) -> list[str]:
    if unknown := set(names) - set(EventType):
        raise unfit("type", f"must be one of {', '.join(EventType)}", min(unknown))
    return names


routes = [
    doors.route(
        "/events",
        list_events,
        Operation(
            "GET", "Read events", doors.allowed(Permission.EVENTS_READ), Events, query=EventQuery, refuses=(410,)
        ),
    )
]
