"""Webhook endpoints over JSON. A secret is shown when it is made and never again."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer import db, http
from streamer.accounts import logins
from streamer.accounts.roles import Permission
from streamer.services import Services
from streamer.webhooks import deliveries_api, endpoints, events_api
from streamer.webhooks.tables import Endpoint


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewEndpoint(_Body):
    url: str
    types: list[str] = [endpoints.ALL]
    description: str = ""


class EndpointChange(_Body):
    """Members that are absent stay as they are."""

    url: str | None = None
    types: list[str] | None = None
    description: str | None = None
    enabled: bool | None = None


class Rotation(_Body):
    overlap_s: int = Field(default=endpoints.OVERLAP_S, ge=0, le=endpoints.OVERLAP_MAX_S)


def list_endpoints(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_READ)
    with db.reading(services) as s:
        rows, cursor = http.page(request, s, select(Endpoint), Endpoint.id)
    return JSONResponse({"data": [_endpoint(row) for row in rows], "next_cursor": cursor})


def create_endpoint(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_WRITE)
    wanted = http.read(request, NewEndpoint).model_dump()
    row, secret = db.retrying(
        services, lambda s: endpoints.create(s, services.secrets, services.config.outbound, **wanted)
    )
    return JSONResponse({**_endpoint(row), "secret": secret}, 201)


def read_endpoint(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_READ)
    with db.reading(services) as s:
        return JSONResponse(_endpoint(_row(request, s)))


def change_endpoint(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_WRITE)
    wanted = http.read(request, EndpointChange).model_dump()

    def change(s: Session) -> Endpoint:
        row = _row(request, s)
        endpoints.change(row, services.config.outbound, **wanted)
        return row

    return JSONResponse(_endpoint(db.retrying(services, change)))


def delete_endpoint(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_WRITE)
    db.retrying(services, lambda s: s.delete(_row(request, s)))
    return Response(status_code=204)


def rotate_secret(request: Request) -> Response:
    services = _allowed(request, Permission.WEBHOOKS_WRITE)
    wanted = http.read(request, Rotation)

    def rotate(s: Session) -> tuple[Endpoint, str]:
        row = _row(request, s)
        return row, endpoints.rotate(row, services.secrets, wanted.overlap_s)

    row, secret = db.retrying(services, rotate)
    return JSONResponse({**_endpoint(row), "secret": secret})


def _allowed(request: Request, permission: Permission) -> Services:
    logins.require(request, permission)
    services: Services = request.app.state.services
    return services


def _row(request: Request, s: Session) -> Endpoint:
    return endpoints.get(s, request.path_params["id"])


def _endpoint(row: Endpoint) -> dict[str, Any]:
    return {
        "id": row.id,
        "url": row.url,
        "types": row.types,
        "description": row.description,
        "enabled": row.disabled_at is None,
        "disabled_at": http.time(row.disabled_at),
        "disabled_reason": row.disabled_reason,
        "failing_since": http.time(row.failing_since),
        "quiet_until": http.time(row.quiet_until),
        "old_secret_until": http.time(row.old_secret_until),
        "created_at": http.time(row.created_at),
    }


routes = [
    *events_api.routes,
    *deliveries_api.routes,
    Route("/webhook-endpoints", list_endpoints),
    Route("/webhook-endpoints", create_endpoint, methods=["POST"]),
    Route("/webhook-endpoints/{id}", read_endpoint),
    Route("/webhook-endpoints/{id}", change_endpoint, methods=["PATCH"]),
    Route("/webhook-endpoints/{id}", delete_endpoint, methods=["DELETE"]),
    Route("/webhook-endpoints/{id}/rotate-secret", rotate_secret, methods=["POST"]),
]
