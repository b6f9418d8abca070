"""Uploads whose parts go straight from the browser to object storage.

POST   /uploads/multipart                  {filename, size, title?, policy?, on_duplicate?, asset_id?}
                                                                                201 {upload, part_size, part_count}
POST   /uploads/multipart/upl_…/parts      {numbers: [1, 2, …]}                 200 {data: [{number, size, url}], expires_in_s}
GET    /uploads/multipart/upl_…/parts      what came so far, to go on with      200 {data: [{number, size, etag}], …}
POST   /uploads/multipart/upl_…/complete   it becomes a film                    200 {upload}
DELETE /uploads/multipart/upl_…                                                 204
"""

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer import db, http
from streamer.accounts import limits, logins
from streamer.accounts.limits import Kind
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog.tables import Policy
from streamer.ingest import documents, duplicates, wanted
from streamer.ingest.multipart import transfers
from streamer.ingest.stream import receiver
from streamer.ingest.tables import OnDuplicate
from streamer.ingest.tus.rows import Resumable
from streamer.ingest.tus.transfers import terminate
from streamer.services import Services


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewUpload(_Body):
    filename: str
    size: int = Field(ge=0)
    title: str | None = None
    policy: str = Policy.PRIVATE
    on_duplicate: str = OnDuplicate.KEEP
    asset_id: str | None = None


class Wish(_Body):
    numbers: list[int]


@limits.counted(Kind.UPLOADS)
def create_upload(request: Request) -> Response:
    services, who = _who(request)
    body = http.read(request, NewUpload)
    policy, on_duplicate = wanted.policy(body.policy), duplicates.choice(body.on_duplicate, who)
    settings = services.config.ingest
    what = wanted.of(
        body.filename, body.title, policy, body.size, settings, on_duplicate, asset_id=body.asset_id or None
    )
    wanted.check_target(services, who, what.asset_id)
    made = transfers.create(services, who.user_id, what)
    headers = {"Location": f"/api/v1/uploads/{made.id}"}
    return JSONResponse({"upload": _document(services, made), **_shape(made)}, 201, headers)


@limits.counted(Kind.UPLOADS)
def sign_parts(request: Request) -> Response:
    services, found = _found(request)
    signed = transfers.sign(services, found, http.read(request, Wish).numbers)
    data = [asdict(part) for part in signed]
    return JSONResponse({"data": data, "expires_in_s": services.config.ingest.part_url_s}, headers=_PRIVATE)


def list_parts(request: Request) -> Response:
    services, found = _found(request)
    data = [asdict(part) for part in transfers.sent(services, found)]
    return JSONResponse({"data": data, **_shape(found)}, headers=_PRIVATE)


@limits.counted(Kind.UPLOADS)
async def complete_upload(request: Request) -> Response:
    """In one of the threads that uploads have: a large film takes a while to be copied and hashed."""
    services, found = await run_in_threadpool(_found, request)
    made = await receiver().work(lambda: transfers.complete(services, found))
    told = await run_in_threadpool(_document, services, made)
    film = made.upload.asset_id  # None while it is held back as a duplicate
    return JSONResponse({"upload": told}, headers={"Location": f"/api/v1/assets/{film}"} if film else None)


def delete_upload(request: Request) -> Response:
    terminate(*_found(request))
    return Response(status_code=204)


def _document(services: Services, found: Resumable) -> dict[str, Any]:
    with db.reading(services) as s:
        return documents.upload(services, s, found.upload)


def _shape(found: Resumable) -> dict[str, Any]:
    return {"part_size": found.tus.part_size, "part_count": transfers.part_count(found)}


def _found(request: Request) -> tuple[Services, Resumable]:
    services, who = _who(request)
    return services, transfers.find(services, who.user_id, request.path_params["id"])


def _who(request: Request) -> tuple[Services, Principal]:
    return http.services(request), logins.require(request, Permission.UPLOADS_CREATE)


_PRIVATE = {"Cache-Control": "no-store"}

routes = [
    Route("/uploads/multipart", create_upload, methods=["POST"]),
    Route("/uploads/multipart/{id}", delete_upload, methods=["DELETE"]),
    Route("/uploads/multipart/{id}/parts", sign_parts, methods=["POST"]),
    Route("/uploads/multipart/{id}/parts", list_parts),
    Route("/uploads/multipart/{id}/complete", complete_upload, methods=["POST"]),
]
