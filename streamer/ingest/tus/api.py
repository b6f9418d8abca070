"""Resumable uploads over HTTP: tus 1.0 at `/tus`, for any tus client with a bearer key or a signed-in page.

    POST /tus                Upload-Length, Upload-Metadata: filename, title, policy, on_duplicate, asset_id     201, Location
    HEAD /tus/upl_…          200, Upload-Offset
    PATCH /tus/upl_…         Upload-Offset, bytes                                        204, Upload-Offset
    DELETE /tus/upl_…        204

When the last byte is in, `GET /uploads/upl_…` tells which film it became. Who asks is known before a byte is read.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from email.utils import format_datetime

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage import StorageError
from streamer.accounts import doors, limits, logins
from streamer.accounts.limits import Kind
from streamer.accounts.roles import Permission
from streamer.errors import Invalid, Problem
from streamer.ingest import duplicates, wanted
from streamer.ingest.stream import UNLIMITED, HandedOver, linger, receiver
from streamer.ingest.tus import films, protocol, rows, transfers
from streamer.ingest.tus.headers import AppendHeaders, CreateHeaders, Headers, OverrideHeaders
from streamer.ingest.tus.protocol import Checksum
from streamer.ingest.tus.rows import Opening, Resumable
from streamer.operations import Operation, Special
from streamer.problems import MethodNotAllowed
from streamer.problems import of as problem_of
from streamer.services import Services

_PATH = "/api/v1/tus"

Endpoint = Callable[[Request, Services, str], Awaitable[Response]]
"""An endpoint that is told who asks, by the user's id."""


@limits.counted(Kind.UPLOADS)
async def collection(request: Request) -> Response:
    return _options(request) if request.method == "OPTIONS" else await _guarded(request, _create)


@limits.counted(Kind.UPLOADS)
async def resource(request: Request) -> Response:
    if request.method == "OPTIONS":
        return _options(request)
    method = request.method
    if method == "POST":  # from clients that can't say PATCH or DELETE
        method = request.headers.get("x-http-method-override", "POST").upper()
    endpoint = {"HEAD": _head, "PATCH": _patch, "DELETE": _delete}.get(method)
    if endpoint is None:
        raise MethodNotAllowed(
            "Say HEAD, PATCH or DELETE in X-HTTP-Method-Override.", headers={"Allow": "OPTIONS, HEAD, PATCH, DELETE"}
        )
    return await _guarded(request, endpoint)


class Spoken:
    """Says in every answer, refusals too, which tus it is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def said(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Tus-Resumable"] = protocol.VERSION
            await send(message)

        await self.app(scope, receive, said)


def _options(request: Request) -> Response:
    services: Services = request.app.state.services
    return Response(
        status_code=204,
        headers={
            "Tus-Version": protocol.VERSION,
            "Tus-Extension": ",".join(protocol.EXTENSIONS),
            "Tus-Max-Size": str(services.config.ingest.max_upload_bytes),
            "Tus-Checksum-Algorithm": ",".join(protocol.ALGORITHMS),
        },
    )


async def _guarded(request: Request, endpoint: Endpoint) -> Response:
    try:
        who = await logins.require_async(request, Permission.UPLOADS_CREATE)
        protocol.check_version(request.headers.get("tus-resumable"))
        return await endpoint(request, request.app.state.services, who.user_id)
    except (Problem, StorageError) as error:
        problem = problem_of(error)
        if _has_body(request):
            await linger(request)
            problem.headers["Connection"] = "close"  # the rest of the body was not read
        raise problem from error


async def _create(request: Request, services: Services, user_id: str) -> Response:
    if _has_body(request):
        protocol.check_type(request.headers.get("content-type"))
    concat = protocol.concat(request.headers.get("upload-concat"))
    if concat is not None and concat.parts:
        return await _join(request, services, user_id, concat.parts)
    size = protocol.length(request.headers.get("upload-length"), request.headers.get("upload-defer-length"))
    opening = await _opening(request, services, size)
    if size is not None and (_content_length(request) or 0) > size:
        raise Invalid("The body is longer than Upload-Length.", code="tus_length")
    checksum = protocol.checksum(request.headers.get("upload-checksum"))
    made = await run_in_threadpool(transfers.create, services, user_id, opening)
    headers = {"Location": f"{_PATH}/{made.id}"}
    if _has_body(request):
        offset = await _receive(request, services, made, 0, checksum)
        made = await run_in_threadpool(rows.find, services, user_id, made.id)
        headers["Upload-Offset"] = str(offset)
    return Response(status_code=201, headers=headers | _expiry(services, made))


async def _join(request: Request, services: Services, user_id: str, parts: tuple[str, ...]) -> Response:
    if "upload-length" in request.headers or _has_body(request):
        raise Invalid("A whole made of parts has neither Upload-Length nor a body of its own.", code="tus_concat")
    size = await run_in_threadpool(films.size_of_parts, services, user_id, parts)
    opening = await _opening(request, services, size)
    whole = await run_in_threadpool(films.join, services, user_id, opening, parts)
    return Response(status_code=201, headers={"Location": f"{_PATH}/{whole.id}"})


async def _head(request: Request, services: Services, user_id: str) -> Response:
    found = await run_in_threadpool(rows.by_tus, services, user_id, request.path_params["id"])
    found, offset = await run_in_threadpool(transfers.offset, services, found)
    size = found.upload.declared_size
    told = {
        "Upload-Offset": None if offset is None else str(offset),
        "Upload-Length": None if size is None else str(size),
        "Upload-Defer-Length": "1" if size is None else None,
        "Upload-Metadata": found.tus.described,
        "Upload-Concat": _concat(found),
        "Cache-Control": "no-store",
    }
    headers = {name: value for name, value in told.items() if value is not None}
    return Response(status_code=200, headers=headers | _expiry(services, found))


async def _patch(request: Request, services: Services, user_id: str) -> Response:
    headers = request.headers
    protocol.check_type(headers.get("content-type"))
    offset = protocol.number("Upload-Offset", headers.get("upload-offset"))
    checksum = protocol.checksum(headers.get("upload-checksum"))
    declared = headers.get("upload-length")
    size = None if declared is None else protocol.number("Upload-Length", declared)
    found = await run_in_threadpool(rows.by_tus, services, user_id, request.path_params["id"])
    if size is not None:
        found = await run_in_threadpool(transfers.declare, services, found, size)
    transfers.check_writable(services, found, offset, _content_length(request))
    if not found.is_received:  # else there is nothing to add, and nothing was sent
        offset = await _receive(request, services, found, offset, checksum)
        found = await run_in_threadpool(rows.find, services, user_id, found.id)
    return Response(status_code=204, headers={"Upload-Offset": str(offset)} | _expiry(services, found))


async def _delete(request: Request, services: Services, user_id: str) -> Response:
    found = await run_in_threadpool(rows.by_tus, services, user_id, request.path_params["id"])
    await run_in_threadpool(transfers.terminate, services, found)
    return Response(status_code=204)


async def _receive(
    request: Request, services: Services, found: Resumable, offset: int, checksum: Checksum | None
) -> int:
    """The body to disk, and to storage and the queue when it was the last of it; the new offset."""

    def write(batches: Iterator[bytes]) -> int:
        return transfers.append(services, found, offset, batches, checksum)

    def asked(silent: bool) -> bool:
        return services.uploads.asked(found.id, silent=silent)

    try:
        async with aclosing(request.stream()) as pieces:
            return await receiver().receive(pieces, write, services.config.ingest.idle_timeout_s, asked)
    except HandedOver:
        await run_in_threadpool(rows.find, services, found.upload.user_id, found.id)  # Gone, if it was ended
        raise


async def _opening(request: Request, services: Services, size: int | None) -> Opening:
    text = request.headers.get("upload-metadata")
    said = protocol.metadata(text)
    name = said.get("filename") or said.get("name") or ""
    policy = wanted.policy(said.get("policy", "private"))
    on_duplicate = duplicates.choice(said.get("on_duplicate", "keep"), logins.require(request))
    asset_id = said.get("asset_id") or None
    what = wanted.of(name, said.get("title"), policy, size, services.config.ingest, on_duplicate, asset_id=asset_id)
    await run_in_threadpool(wanted.check_target, services, logins.require(request), asset_id)
    return Opening(what, text, protocol.concat(request.headers.get("upload-concat")))


def _concat(found: Resumable) -> str | None:
    if found.concat is None:
        return None
    return protocol.concat_text(found.concat, [f"{_PATH}/{part}" for part in found.concat.parts])


def _expiry(services: Services, found: Resumable) -> dict[str, str]:
    expires = found.expires(services)
    return {} if expires is None else {"Upload-Expires": format_datetime(expires, usegmt=True)}


def _content_length(request: Request) -> int | None:
    text = request.headers.get("content-length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or _content_length(request) not in (None, 0)


_NEW, _ITS = doors.allowed(Permission.UPLOADS_CREATE), doors.own(Permission.UPLOADS_CREATE)
_REFUSES = (409, 410, 412, 415, 423, 460, 507)
_SPECIAL = Special(middleware=[Middleware(Spoken)], max_body_size=UNLIMITED)
_ABOUT = "tus 1.0.0; see its specification for all headers. Any tus client does this."

routes = [
    doors.route(
        "/tus",
        collection,
        Operation("OPTIONS", "Ask which tus this is", doors.OPEN, status=204, about=_ABOUT),
        Operation(
            "POST",
            "Begin a resumable upload",
            _NEW,
            status=201,
            file=protocol.BYTES,
            headers=CreateHeaders,
            refuses=(404, *_REFUSES),
            about=_ABOUT,
        ),
        asks_itself=True,
        special=_SPECIAL,
    ),
    doors.route(
        "/tus/{id}",
        resource,
        Operation("OPTIONS", "Ask which tus this is, at an upload", doors.OPEN, status=204, about=_ABOUT),
        Operation("HEAD", "Ask how much has come", _ITS, headers=Headers, refuses=_REFUSES, about=_ABOUT),
        Operation(
            "PATCH",
            "Send more of an upload",
            _ITS,
            status=204,
            file=protocol.BYTES,
            headers=AppendHeaders,
            refuses=_REFUSES,
            about=_ABOUT,
        ),
        Operation(
            "DELETE",
            "End a resumable upload",
            _ITS,
            status=204,
            headers=Headers,
            refuses=_REFUSES,
            about=_ABOUT,
        ),
        Operation(
            "POST",
            "The same for clients that can't say PATCH or DELETE",
            _ITS,
            status=204,
            also={200: None},
            file=protocol.BYTES,
            headers=OverrideHeaders,
            refuses=(*_REFUSES, 405),
            about=_ABOUT,
        ),
        asks_itself=True,
        special=_SPECIAL,
    ),
]
