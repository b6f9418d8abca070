"""What was sent to a webhook endpoint, over JSON: each attempt seen, deliveries sent again, missed events replayed, a test event."""

from collections.abc import Mapping
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer import db, http
from streamer.accounts import logins
from streamer.accounts.roles import Permission
from streamer.errors import Invalid
from streamer.events import outbox
from streamer.events.tables import Event
from streamer.services import Services
from streamer.webhooks import deliveries, endpoints
from streamer.webhooks.tables import Attempt, Delivery, DeliveryState


class Replay(BaseModel):
    """From the number of an event on, or from a time on."""

    model_config = ConfigDict(extra="forbid")

    after: int | None = Field(default=None, ge=0)
    since: AwareDatetime | None = None


def list_deliveries(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_READ)
    with db.reading(services) as s:
        query = select(Delivery).where(Delivery.endpoint_id == endpoints.get(s, request.path_params["id"]).id)
        if state := request.query_params.get("state"):
            query = query.where(Delivery.state == _state(state))
        rows, cursor = http.page(request, s, query, Delivery.id)
        kinds = outbox.types(s, [row.event_id for row in rows])
    return JSONResponse({"data": [_delivery(row, kinds) for row in rows], "next_cursor": cursor})


def list_attempts(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_READ)
    with db.reading(services) as s:
        row = deliveries.get(s, request.path_params["id"], request.path_params["delivery_id"])
        tried = deliveries.attempts(s, [row.id])[row.id]
    return JSONResponse({"data": [_attempt(one) for one in tried], "next_cursor": None})


def resend_delivery(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_WRITE)
    endpoint_id, delivery_id = request.path_params["id"], request.path_params["delivery_id"]

    def resend(s: Session) -> tuple[Delivery, Mapping[str, str]]:
        row = deliveries.resend(s, endpoint_id, delivery_id)
        return row, outbox.types(s, [row.event_id])

    return JSONResponse(_delivery(*db.retrying(services, resend)), 202)


def replay(request: Request) -> Response:
    """A thousand events at a time; `next_after` says from where to go on."""
    services = _allowed(request, Permission.WEBHOOKS_WRITE)
    wanted = http.read(request, Replay)
    if (wanted.after is None) == (wanted.since is None):
        raise Invalid("Say either after (the number of an event) or since (a time with its zone).")

    def plan(s: Session) -> tuple[int, int | None]:
        after = outbox.number_before(s, wanted.since) if wanted.since else wanted.after
        return deliveries.replay(s, request.path_params["id"], after or 0)

    planned, following = db.retrying(services, plan)
    return JSONResponse({"planned": planned, "next_after": following, "more": following is not None}, 202)


def ping(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_WRITE)
    event: Event = db.retrying(services, lambda s: endpoints.ping(s, request.path_params["id"]))
    return JSONResponse({"event_id": event.id}, 202)


def _allowed(request: Request, permission: Permission) -> Services:
    logins.require(request, permission)
    services: Services = request.app.state.services
    return services


def _state(text: str) -> DeliveryState:
    try:
        return DeliveryState(text)
    except ValueError:
        raise Invalid(f"state must be one of {', '.join(DeliveryState)}.") from None


def _delivery(row: Delivery, kinds: Mapping[str, str]) -> dict[str, Any]:
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


def _attempt(row: Attempt) -> dict[str, Any]:
    return {"tried_at": http.time(row.tried_at), "took_ms": row.took_ms, "status": row.status, "error": row.error}


routes = [
    Route("/webhook-endpoints/{id}/deliveries", list_deliveries),
    Route("/webhook-endpoints/{id}/deliveries/{delivery_id}/attempts", list_attempts),
    Route("/webhook-endpoints/{id}/deliveries/{delivery_id}/resend", resend_delivery, methods=["POST"]),
    Route("/webhook-endpoints/{id}/ping", ping, methods=["POST"]),
    Route("/webhook-endpoints/{id}/replay", replay, methods=["POST"]),
]
