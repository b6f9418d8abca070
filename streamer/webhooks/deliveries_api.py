"""What was sent to a webhook endpoint, over JSON: each attempt seen, deliveries sent again, missed events replayed, a test event."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors
from streamer.accounts.roles import Permission
from streamer.errors import Invalid
from streamer.events import outbox
from streamer.events.tables import Event
from streamer.operations import Id, Operation, Page, PageQuery, Time, one_of
from streamer.webhooks import deliveries, endpoints
from streamer.webhooks.tables import Attempt, Delivery, DeliveryState


class Replay(BaseModel):
    """From the number of an event on, or from a time on."""

    model_config = ConfigDict(extra="forbid")

    after: int | None = Field(default=None, ge=0)
    since: AwareDatetime | None = None


class DeliveryDocument(TypedDict):
    """One event for one endpoint; `status` and `error` are of the last attempt."""

    id: Id
    event_id: Id
    event_type: str | None
    state: Annotated[str, one_of(DeliveryState)]
    attempts: int
    status: int | None
    error: str | None
    tried_at: Time | None
    next_attempt_at: Time | None
    created_at: Time


class AttemptDocument(TypedDict):
    """One POST to the endpoint."""

    tried_at: Time
    took_ms: int
    status: int | None
    error: str | None


class Replayed(TypedDict):
    """How many deliveries were planned; with `more`, ask again with `after` being `next_after`."""

    planned: int
    next_after: int | None
    more: bool


class Pinged(TypedDict):
    """The event that is on its way."""

    event_id: Id


class DeliveryQuery(PageQuery, total=False):
    """Which deliveries."""

    state: DeliveryState


def list_deliveries(request: Request) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        query = select(Delivery).where(Delivery.endpoint_id == endpoints.get(s, request.path_params["id"]).id)
        if (state := request.query_params.get("state")) is not None:
            query = query.where(Delivery.state == _state(state))
        rows, cursor = http.page(request, s, query, Delivery.id)
        kinds = outbox.types(s, [row.event_id for row in rows])
    return JSONResponse({"data": [_delivery(row, kinds) for row in rows], "next_cursor": cursor})


def list_attempts(request: Request) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        row = deliveries.get(s, request.path_params["id"], request.path_params["delivery_id"])
        tried = deliveries.attempts(s, [row.id])[row.id]
    return JSONResponse({"data": [_attempt(one) for one in tried], "next_cursor": None})


def resend_delivery(request: Request) -> Response:
    services = http.services(request)
    endpoint_id, delivery_id = request.path_params["id"], request.path_params["delivery_id"]

    def resend(s: Session) -> tuple[Delivery, Mapping[str, str]]:
        row = deliveries.resend(s, endpoint_id, delivery_id)
        return row, outbox.types(s, [row.event_id])

    return JSONResponse(_delivery(*db.retrying(services, resend)), 202)


def replay(request: Request) -> Response:
    """A thousand events at a time; `next_after` says from where to go on."""
    services = http.services(request)
    wanted = http.read(request, Replay)
    if (wanted.after is None) == (wanted.since is None):
        raise Invalid("Say either after (the number of an event) or since (a time with its zone).")

    def plan(s: Session) -> tuple[int, int | None]:
        after = outbox.number_before(s, wanted.since) if wanted.since else wanted.after
        return deliveries.replay(s, request.path_params["id"], after or 0)

    planned, following = db.retrying(services, plan)
    told: Replayed = {"planned": planned, "next_after": following, "more": following is not None}
    return JSONResponse(told, 202)


def ping(request: Request) -> Response:
    services = http.services(request)
    event: Event = db.retrying(services, lambda s: endpoints.ping(s, request.path_params["id"]))
    told: Pinged = {"event_id": event.id}
    return JSONResponse(told, 202)


def _state(text: str) -> DeliveryState:
    try:
        return DeliveryState(text)
    except ValueError:
        raise Invalid(f"state must be one of {', '.join(DeliveryState)}.") from None


def _delivery(row: Delivery, kinds: Mapping[str, str]) -> DeliveryDocument:
    return {
        "id": row.id,
        "event_id": row.event_id,
        "event_type": kinds.get(row.event_id),
        "state": row.state,
        "attempts": row.attempts,
        "status": row.status,
        "error": row.error,
        "tried_at": http.time(row.tried_at),
        "next_attempt_at": http.time(row.due_at) if row.state == DeliveryState.PENDING else None,
        "created_at": http.time(row.created_at),
    }


def _attempt(row: Attempt) -> AttemptDocument:
    return {"tried_at": http.time(row.tried_at), "took_ms": row.took_ms, "status": row.status, "error": row.error}


_READ, _WRITE = doors.allowed(Permission.WEBHOOKS_READ), doors.allowed(Permission.WEBHOOKS_WRITE)
_ALL = "/webhook-endpoints/{id}/deliveries"

routes = [
    doors.route(
        _ALL,
        list_deliveries,
        Operation("GET", "List what was sent to an endpoint", _READ, Page[DeliveryDocument], query=DeliveryQuery),
    ),
    doors.route(
        f"{_ALL}/{{delivery_id}}/attempts",
        list_attempts,
        Operation("GET", "List the attempts of a delivery", _READ, Page[AttemptDocument]),
    ),
    doors.route(
        f"{_ALL}/{{delivery_id}}/resend",
        resend_delivery,
        Operation("POST", "Send a delivery again", _WRITE, DeliveryDocument, 202, refuses=(409,)),
    ),
    doors.route(
        "/webhook-endpoints/{id}/ping",
        ping,
        Operation("POST", "Send a test event", _WRITE, Pinged, 202, refuses=(409,)),
    ),
    doors.route(
        "/webhook-endpoints/{id}/replay",
        replay,
        Operation("POST", "Send past events again", _WRITE, Replayed, 202, body=Replay, refuses=(409,)),
    ),
]
