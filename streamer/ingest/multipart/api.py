"""Uploads whose parts go straight from the browser to object storage.

POST   /uploads/multipart                  {filename, size, title?, policy?, on_duplicate?, asset_id?}
                                                                                201 {upload, part_size, part_count}
POST   /uploads/multipart/upl_…/parts      {numbers: [1, 2, …]}                 200 {data: [{number, size, url}], expires_in_s}
GET    /uploads/multipart/upl_…/parts      what came so far, to go on with      200 {data: [{number, size, etag}], …}
POST   /uploads/multipart/upl_…/complete   it becomes a film                    200 {upload}
DELETE /uploads/multipart/upl_…                                                 204
"""

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, limits, logins
from streamer.accounts.limits import Kind
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog.tables import Policy
from streamer.ingest import documents, duplicates, wanted
from streamer.ingest.documents import UploadDocument
from streamer.ingest.multipart import transfers
from streamer.ingest.stream import receiver
from streamer.ingest.tables import OnDuplicate
from streamer.ingest.tus.rows import Resumable
from streamer.ingest.tus.transfers import terminate
from streamer.operations import Operation
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


class Shape(TypedDict):
    """How the file is cut: every part but the last has `part_size` bytes."""

    part_size: int | None
    part_count: int


class Begun(Shape):
    """An upload that waits for its parts."""

    upload: UploadDocument


class SignedPart(TypedDict):
    """Where a part of exactly `size` bytes goes, by PUT."""

    number: int
    size: int
    url: str


class SignedParts(TypedDict):
    """What was asked for."""

    data: list[SignedPart]
    expires_in_s: int


class SentPart(TypedDict):
    """A part that came."""

    number: int
    size: int
    etag: str


class SentParts(Shape):
    """What came so far."""

    data: list[SentPart]


class Completed(TypedDict):
    """The upload, and in it the film that it became."""

    upload: UploadDocument


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
    begun: Begun = {"upload": _document(services, made), **_shape(made)}
    return JSONResponse(begun, 201, headers)


@limits.counted(Kind.UPLOADS)
def sign_parts(request: Request) -> Response:
    services, found = _found(request)
    signed = transfers.sign(services, found, http.read(request, Wish).numbers)
    data: list[SignedPart] = [{"number": part.number, "size": part.size, "url": part.url} for part in signed]
    told: SignedParts = {"data": data, "expires_in_s": services.config.ingest.part_url_s}
    return JSONResponse(told, headers=_PRIVATE)


def list_parts(request: Request) -> Response:
    services, found = _found(request)
    here = transfers.sent(services, found)
    data: list[SentPart] = [{"number": part.number, "size": part.size, "etag": part.etag} for part in here]
    told: SentParts = {"data": data, **_shape(found)}
    return JSONResponse(told, headers=_PRIVATE)


@limits.counted(Kind.UPLOADS)
async def complete_upload(request: Request) -> Response:
    """In one of the threads that uploads have: a large film takes a while to be copied and hashed."""
    services, found = await run_in_threadpool(_found, request)
    made = await receiver().work(lambda: transfers.complete(services, found))
    told: Completed = {"upload": await run_in_threadpool(_document, services, made)}
    film = made.upload.asset_id  # None while it is held back as a duplicate
    return JSONResponse(told, headers={"Location": f"/api/v1/assets/{film}"} if film else None)


def delete_upload(request: Request) -> Response:
    terminate(*_found(request))
    return Response(status_code=204)


def _document(services: Services, found: Resumable) -> UploadDocument:
    with db.reading(services) as s:
        return documents.upload(services, s, found.upload)


def _shape(found: Resumable) -> Shape:
    return {"part_size": found.tus.part_size, "part_count": transfers.part_count(found)}


def _found(request: Request) -> tuple[Services, Resumable]:
    services, who = _who(request)
    return services, transfers.find(services, who.user_id, request.path_params["id"])


def _who(request: Request) -> tuple[Services, Principal]:
    return http.services(request), logins.require(request)


_PRIVATE = {"Cache-Control": "no-store"}

_NEW, _ITS = doors.allowed(Permission.UPLOADS_CREATE), doors.own(Permission.UPLOADS_CREATE)
_NOT_HERE = (409, 410, 423, 501)

routes = [
    doors.route(
        "/uploads/multipart",
        create_upload,
        Operation("POST", "Begin an upload in parts", _NEW, Begun, 201, body=NewUpload, refuses=(404, *_NOT_HERE, 507)),
    ),
    doors.route(
        "/uploads/multipart/{id}",
        delete_upload,
        Operation("DELETE", "End an upload in parts", _ITS, status=204, refuses=_NOT_HERE),
    ),
    doors.route(
        "/uploads/multipart/{id}/parts",
        sign_parts,
        Operation("POST", "Ask where parts go", _ITS, SignedParts, body=Wish, refuses=_NOT_HERE),
    ),
    doors.route(
        "/uploads/multipart/{id}/parts",
        list_parts,
        Operation("GET", "List the parts that came", _ITS, SentParts, refuses=_NOT_HERE),
    ),
    doors.route(
        "/uploads/multipart/{id}/complete",
        complete_upload,
        Operation("POST", "Make the film of its parts", _ITS, Completed, refuses=(*_NOT_HERE, 507)),
    ),
]
