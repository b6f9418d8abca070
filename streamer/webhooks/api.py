"""Webhook endpoints over JSON. A secret is shown when it is made and never again."""

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors
from streamer.accounts.roles import Permission
from streamer.operations import Id, Operation, Page, PageQuery, Time
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


class EndpointDocument(TypedDict):
    """Where events are sent, without its secret. While it fails it is tried more and more seldom, and `quiet_until` then."""

    id: Id
    url: str
    types: list[str]
    description: str
    enabled: bool
    disabled_at: Time | None
    disabled_reason: str | None
    failing_since: Time | None
    quiet_until: Time | None
    old_secret_until: Time | None
    created_at: Time


class EndpointWithSecret(EndpointDocument):
    """With the secret that was made now: what sent events are signed with. It is shown this once."""

    secret: str


def list_endpoints(request: Request) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        rows, cursor = http.page(request, s, select(Endpoint), Endpoint.id)
    return JSONResponse({"data": [_endpoint(row) for row in rows], "next_cursor": cursor})


def create_endpoint(request: Request) -> Response:
    services = http.services(request)
    wanted = http.read(request, NewEndpoint).model_dump()
    row, secret = db.retrying(
        services, lambda s: endpoints.create(s, services.secrets, services.config.outbound, **wanted)
    )
    return JSONResponse(_with_secret(row, secret), 201)


def read_endpoint(request: Request) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        return JSONResponse(_endpoint(_row(request, s)))


def change_endpoint(request: Request) -> Response:
    services = http.services(request)
    wanted = http.read(request, EndpointChange).model_dump()

    def change(s: Session) -> Endpoint:
        row = _row(request, s)
        endpoints.change(s, row, services.config.outbound, **wanted)
        return row

    return JSONResponse(_endpoint(db.retrying(services, change)))


def delete_endpoint(request: Request) -> Response:
    services = http.services(request)
    db.retrying(services, lambda s: endpoints.delete(s, _row(request, s)))
    return Response(status_code=204)


def rotate_secret(request: Request) -> Response:
    services = http.services(request)
    wanted = http.read(request, Rotation)

    def rotate(s: Session) -> tuple[Endpoint, str]:
        row = _row(request, s)
        return row, endpoints.rotate(s, row, services.secrets, wanted.overlap_s)

    row, secret = db.retrying(services, rotate)
    return JSONResponse(_with_secret(row, secret))


def _row(request: Request, s: Session) -> Endpoint:
    return endpoints.get(s, request.path_params["id"])


def _with_secret(row: Endpoint, secret: str) -> EndpointWithSecret:
    return {**_endpoint(row), "secret": secret}


def _endpoint(row: Endpoint) -> EndpointDocument:
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


_READ, _WRITE = doors.allowed(Permission.WEBHOOKS_READ), doors.allowed(Permission.WEBHOOKS_WRITE)

routes = [
    *events_api.routes,
    *deliveries_api.routes,
    doors.route(
        "/webhook-endpoints",
        list_endpoints,
        Operation("GET", "List webhook endpoints", _READ, Page[EndpointDocument], query=PageQuery),
    ),
    doors.route(
        "/webhook-endpoints",
        create_endpoint,
        Operation("POST", "Add a webhook endpoint", _WRITE, EndpointWithSecret, 201, body=NewEndpoint, refuses=(409,)),
    ),
    doors.route(
        "/webhook-endpoints/{id}", read_endpoint, Operation("GET", "Read a webhook endpoint", _READ, EndpointDocument)
    ),
    doors.route(
        "/webhook-endpoints/{id}",
        change_endpoint,
        Operation("PATCH", "Change a webhook endpoint", _WRITE, EndpointDocument, body=EndpointChange),
    ),
    doors.route(
        "/webhook-endpoints/{id}",
        delete_endpoint,
        Operation("DELETE", "Delete a webhook endpoint", _WRITE, status=204),
    ),
    doors.route(
        "/webhook-endpoints/{id}/rotate-secret",
        rotate_secret,
        Operation("POST", "Change the secret of a webhook endpoint", _WRITE, EndpointWithSecret, body=Rotation),
    ),
]
