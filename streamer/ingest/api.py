"""Uploads over HTTP: the file is the body of one POST.

`POST /uploads?filename=…&title=…&policy=private|public` answers 201 when the bytes are durable and the film is queued. It can't be resumed;
what `tus` and `multipart` take can. With `on_duplicate=offer` the answer is 202 when a film has the same bytes: the upload is held until `POST
/uploads/{id}/keep` or `…/discard`. `POST /imports {url}` has the server fetch the file itself, by a job. Every upload, through whichever door it came, is read at `/uploads`.
With `asset_id`, which every door takes, or sent to `/assets/{id}/versions`, the file becomes the next version of that film.
"""

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from storage import StorageError
from streamer import db, http
from streamer.accounts import doors, idempotency, limits, logins
from streamer.accounts.limits import Kind
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog import documents as films
from streamer.catalog import versions_api
from streamer.catalog.documents import AssetDocument, VersionDocument
from streamer.catalog.tables import Policy
from streamer.catalog.versions_api import NewVersion
from streamer.errors import Invalid, NotFound, Problem
from streamer.ingest import documents, duplicates, held, imports, uploads, wanted
from streamer.ingest.documents import UploadDocument
from streamer.ingest.multipart import api as multipart
from streamer.ingest.stream import UNLIMITED, linger, receiver
from streamer.ingest.tables import OnDuplicate, Upload, UploadState
from streamer.ingest.tus import api as tus
from streamer.ingest.uploads import Received
from streamer.ingest.wanted import Wanted
from streamer.jobs import api as jobs_api
from streamer.jobs.api import JobDocument
from streamer.operations import BYTES, Id, Operation, Page, PageQuery, Special
from streamer.problems import of as problem_of
from streamer.services import Services


class FileQuery(TypedDict, total=False):
    """What goes with a file that is the body."""

    filename: str
    title: Annotated[str, Field(description="From the file's name when it is not said.")]
    policy: Policy
    on_duplicate: Literal[OnDuplicate.KEEP, OnDuplicate.OFFER]
    asset_id: Annotated[Id, Field(description="The film that gets a new version of it.")]


class Took(TypedDict):
    """An upload, and the film and the job it became; without those when it is held for a decision."""

    upload: UploadDocument
    asset: AssetDocument | None
    job: JobDocument | None


class UploadQuery(PageQuery, total=False):
    """Which uploads."""

    state: UploadState


@limits.counted(Kind.UPLOADS)
async def create_upload(request: Request) -> Response:
    services = http.services(request)
    try:
        who = await logins.require_async(request, Permission.UPLOADS_CREATE)
        idempotency.refuse(request)
        what = _wanted(request, services, who)
        await run_in_threadpool(wanted.check_target, services, who, what.asset_id)
        upload = await run_in_threadpool(uploads.begin, services, who.user_id, what)
        done = await _take(request, services, upload, what)
    except (Problem, StorageError) as error:
        problem = problem_of(error)
        await linger(request)
        problem.headers["Connection"] = "close"  # the rest of the body was not read
        raise problem from error
    return await run_in_threadpool(_answer, services, done)


@limits.counted(Kind.UPLOADS)
async def create_version(request: Request) -> Response:
    """Of the file that is the body; of one that is here already, when the body is JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return await create_upload(request)
    wanted = await http.read_within(request, NewVersion, http.services(request).config.server)
    who = await logins.require_async(request)
    said = wanted.model_dump_json().encode()  # the body itself is read by now
    return await run_in_threadpool(
        idempotency.once, request, who.user_id, said, lambda: versions_api.create(request, wanted)
    )


class NewImport(BaseModel):
    """What to fetch; the title comes from the file's name when there is none. With `asset_id` it is that film's next version."""

    model_config = ConfigDict(extra="forbid")

    url: str
    title: str | None = None
    policy: str = Policy.PRIVATE
    on_duplicate: str = OnDuplicate.KEEP
    asset_id: str | None = None


def create_import(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    body = http.read(request, NewImport)
    url = imports.checked(body.url, services.config.outbound)
    on_duplicate = duplicates.choice(body.on_duplicate, who)
    policy, name, asset_id = wanted.policy(body.policy), imports.filename(url), body.asset_id or None
    what = wanted.of(name, body.title, policy, None, services.config.ingest, on_duplicate, asset_id=asset_id)
    wanted.check_target(services, who, asset_id)
    upload = imports.begin(services, who.user_id, url, what, what.title if body.title else None)
    with db.reading(services) as s:
        document = documents.upload(services, s, upload)
    return JSONResponse(document, 202, {"Location": f"/api/v1/uploads/{upload.id}"})


def list_uploads(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    query = select(Upload).where(Upload.user_id == who.user_id)
    if (state := request.query_params.get("state")) is not None:
        query = query.where(Upload.state == _state(state))
    with db.reading(services) as s:
        rows, cursor = http.page(request, s, query, Upload.id)
        return JSONResponse({"data": documents.uploads(services, s, rows), "next_cursor": cursor})


def read_upload(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    with db.reading(services) as s:
        found = uploads.owned(s, request.path_params["id"], who.user_id)
        if found is None:
            raise NotFound("You have no upload with this id.")
        return JSONResponse(documents.upload(services, s, found))


def keep_upload(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    return _answer(services, held.keep(services, who.user_id, request.path_params["id"]))


def discard_upload(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    dropped = held.discard(services, who.user_id, request.path_params["id"])
    with db.reading(services) as s:
        return JSONResponse(documents.upload(services, s, dropped))


async def _take(request: Request, services: Services, upload: Upload, what: Wanted) -> Received:
    """Body to disk, disk to storage, storage to queue. Whatever breaks it off leaves a failed row and no bytes."""
    idle_s = services.config.ingest.idle_timeout_s
    try:
        async with aclosing(request.stream()) as pieces:
            sha256 = await receiver().receive(pieces, partial(uploads.receive, services, upload), idle_s)
        return await run_in_threadpool(uploads.complete, services, upload, what, sha256)
    except BaseException as error:
        await asyncio.shield(run_in_threadpool(uploads.fail, services, upload, error))
        raise


def _wanted(request: Request, services: Services, who: Principal) -> Wanted:
    query, headers = request.query_params, request.headers
    if headers.get("content-type", "").startswith(("multipart/", "application/x-www-form-urlencoded")):
        raise Invalid("Send the file itself as the body, not a form: curl --data-binary @film.mp4 …", code="form_body")
    return wanted.of(
        query.get("filename", ""), query.get("title"), wanted.policy(query.get("policy", Policy.PRIVATE)), _size(headers.get("content-length")),
        services.config.ingest, duplicates.choice(query.get("on_duplicate", OnDuplicate.KEEP), who),
        asset_id=request.path_params.get("id") or query.get("asset_id"),
    )  # fmt: skip


def _size(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _answer(services: Services, done: Received) -> Response:
    """201 with the film; 202 without one, where a decision is waited for."""
    with db.reading(services) as s:
        upload = documents.upload(services, s, done.upload)
        asset = films.asset(services, s, done.asset) if done.asset else None
    document: Took = {"upload": upload, "asset": asset, "job": jobs_api.document(done.job, None) if done.job else None}
    if done.asset is None:
        return JSONResponse(document, 202, {"Location": f"/api/v1/uploads/{done.upload.id}"})
    made = f"/versions/{done.job.subject_id}" if done.upload.replaces and done.job else ""
    return JSONResponse(document, 201, {"Location": f"/api/v1/assets/{done.asset.id}{made}"})


def _state(text: str) -> UploadState:
    try:
        return UploadState(text)
    except ValueError:
        raise Invalid(f"state must be one of {', '.join(UploadState)}.") from None


_SEND = doors.allowed(Permission.UPLOADS_CREATE)
_DECIDE = doors.own(Permission.UPLOADS_CREATE)
_VERSION = doors.changeable(Permission.ASSETS_WRITE, seen=Permission.ASSETS_READ)
_FILE = Special(max_body_size=UNLIMITED)

routes = [
    doors.route(
        "/uploads",
        create_upload,
        Operation(
            "POST",
            "Upload a film in one request",
            _SEND,
            Took,
            201,
            file=BYTES,
            query=FileQuery,
            also={202: Took},
            refuses=(404, 409, 422, 423, 507),
        ),
        asks_itself=True,
        special=_FILE,
    ),
    doors.route(
        "/assets/{id}/versions",
        create_version,
        Operation(
            "POST",
            "Make another version of a film",
            _VERSION,
            VersionDocument | Took,
            201,
            body=NewVersion,
            file=BYTES,
            query=FileQuery,
            also={202: Took},
            refuses=(409, 410, 423, 507),
        ),
        asks_itself=True,
        special=Special(max_body_size=UNLIMITED, once=True),
    ),
    doors.route(
        "/imports",
        create_import,
        Operation(
            "POST",
            "Have a film fetched from a URL",
            _SEND,
            UploadDocument,
            202,
            body=NewImport,
            refuses=(404, 409, 507),
        ),
    ),
    doors.route(
        "/uploads",
        list_uploads,
        Operation("GET", "List your uploads", doors.ACCOUNT, Page[UploadDocument], query=UploadQuery),
    ),
    *multipart.routes,
    doors.route("/uploads/{id}", read_upload, Operation("GET", "Read an upload", doors.own(), UploadDocument)),
    doors.route(
        "/uploads/{id}/keep",
        keep_upload,
        Operation("POST", "Keep an upload that was held", _DECIDE, Took, 201, also={202: Took}, refuses=(409,)),
    ),
    doors.route(
        "/uploads/{id}/discard",
        discard_upload,
        Operation("POST", "Drop an upload that was held", _DECIDE, UploadDocument, refuses=(409,)),
    ),
    *tus.routes,
]
