"""Uploads over HTTP: the file is the body of one POST.

`POST /uploads?filename=…&title=…&policy=private|public` answers 201 when the bytes are durable and the film is queued. It can't be resumed;
what `tus` takes can.
"""

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from storage import StorageError
from streamer import db
from streamer.accounts import logins
from streamer.accounts.roles import Permission
from streamer.catalog import documents
from streamer.catalog.tables import Policy
from streamer.errors import Invalid, NotFound, Problem
from streamer.ingest import uploads
from streamer.ingest.stream import UNLIMITED, linger, receiver
from streamer.ingest.tables import Upload
from streamer.ingest.tus import api as tus
from streamer.ingest.uploads import Received, Wanted
from streamer.jobs import api as jobs_api
from streamer.problems import of as problem_of
from streamer.services import Services


async def create_upload(request: Request) -> Response:
    services = _services(request)
    try:
        who = await logins.require_async(request, Permission.UPLOADS_CREATE)
        what = _wanted(request, services)
        upload = await run_in_threadpool(uploads.begin, services, who.user_id, what)
        done = await _take(request, services, upload, what)
    except (Problem, StorageError) as error:
        problem = problem_of(error)
        await linger(request)
        problem.headers["Connection"] = "close"  # the rest of the body was not read
        raise problem from error
    document = await run_in_threadpool(_document, services, done)
    return JSONResponse(document, 201, {"Location": f"/api/v1/assets/{done.asset.id}"})


def read_upload(request: Request) -> Response:
    who, services = logins.require(request), _services(request)
    with db.reading(services) as s:
        found = uploads.owned(s, request.path_params["id"], who.user_id)
    if found is None:
        raise NotFound("You have no upload with this id.")
    return JSONResponse(_upload(found))


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


def _wanted(request: Request, services: Services) -> Wanted:
    query, headers = request.query_params, request.headers
    if headers.get("content-type", "").startswith(("multipart/", "application/x-www-form-urlencoded")):
        raise Invalid("Send the file itself as the body, not a form: curl --data-binary @film.mp4 …", code="form_body")
    return uploads.wanted(
        query.get("filename", ""), query.get("title"), uploads.policy(query.get("policy", Policy.PRIVATE)), _size(headers.get("content-length")),
        services.config.ingest,
    )  # fmt: skip


def _size(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _document(services: Services, done: Received) -> dict[str, Any]:
    with db.reading(services) as s:
        asset = documents.asset(services, s, done.asset)
    return {"upload": _upload(done.upload), "asset": asset, "job": jobs_api.document(done.job, None)}


def _upload(row: Upload) -> dict[str, Any]:
    return {
        "id": row.id,
        "asset_id": row.asset_id,
        "filename": row.filename,
        "declared_size": row.declared_size,
        "received": row.received,
        "state": row.state,
        "sha256": row.sha256,
        "error": row.error,
        "created_at": row.created_at.isoformat(),
        "updated_at": row.updated_at.isoformat(),
    }


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


routes = [
    Route("/uploads", create_upload, methods=["POST"], max_body_size=UNLIMITED),
    Route("/uploads/{id}", read_upload),
    *tus.routes,
]
