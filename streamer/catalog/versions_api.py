"""A film's versions over JSON: listed, made again with other options, published by hand, deleted. Their list is for those who may see all of a film."""

from pydantic import Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, logins
from streamer.accounts.roles import Permission, in_words
from streamer.catalog import again, assets, documents, faces, history, versions
from streamer.catalog.again import Options
from streamer.catalog.documents import VersionDocument
from streamer.catalog.faces import RenditionDocument
from streamer.catalog.tables import Asset, Version
from streamer.errors import Forbidden
from streamer.jobs import queues
from streamer.jobs.tables import Job
from streamer.operations import Id, Operation, Page, PageQuery, Time


class NewVersion(Options):
    """`from` is the version whose file is encoded again; without it, that of what plays."""

    origin: str | None = Field(default=None, alias="from", max_length=32)


class DeletedVersion(TypedDict):
    """It can't be played from now on; its files go when nobody can be watching it any more."""

    id: Id
    deleted: bool
    job_id: Id
    files_removed_after: Time


def list_versions(request: Request) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        asset = _seen(request, s)
        rows, cursor = http.page(request, s, history.listed(asset.id), Version.id)
        return JSONResponse({"data": documents.versions_of(services, s, asset, rows), "next_cursor": cursor})


def read_version(request: Request) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        row = history.get(s, _seen(request, s).id, request.path_params["version_id"])
    return _answer(request, row.id)


def list_renditions(request: Request) -> Response:
    with db.reading(http.services(request)) as s:
        row = history.get(s, _seen(request, s).id, request.path_params["version_id"])
        rows = versions.renditions(s, row.id)
    return JSONResponse({"data": [faces.rendition(one) for one in rows], "next_cursor": None})


def create(request: Request, wanted: NewVersion) -> Response:
    """A version of a file that is here already. `ingest` has the route, since a file may come with it. Blocks."""
    who, services = logins.require(request), http.services(request)
    options = Options(**wanted.model_dump(exclude={"origin"}))
    tries = services.config.jobs.max_attempts

    def make(s: Session) -> tuple[Version, Job]:
        asset = assets.changeable(s, request.path_params["id"], who, Permission.ASSETS_WRITE)
        return again.of_version(s, asset, wanted.origin, options, user_id=who.user_id, max_attempts=tries)

    version, job = db.retrying(services, make)
    queues.dispatch(services, [job])
    return _answer(request, version.id, 201)


def publish_version(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    asset_id, version_id = request.path_params["id"], request.path_params["version_id"]

    def publish(s: Session) -> None:
        asset = assets.changeable(s, asset_id, who, Permission.ASSETS_WRITE)
        history.publish(s, asset, history.get(s, asset.id, version_id))

    db.retrying(services, publish)
    return _answer(request, version_id)


def delete_version(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    asset_id, version_id = request.path_params["id"], request.path_params["version_id"]

    def delete(s: Session) -> Job:
        asset = assets.changeable(s, asset_id, who, Permission.ASSETS_DELETE)
        version = history.get(s, asset.id, version_id)
        grace_s = history.grace_s(services.config.delivery) if version.path else 0.0  # else nobody has ever watched it
        return history.delete(s, asset, version, grace_s)

    removal = db.retrying(services, delete)
    told: DeletedVersion = {
        "id": version_id,
        "deleted": True,
        "job_id": removal.id,
        "files_removed_after": removal.run_after.isoformat(),
    }
    return JSONResponse(told, 202)


def _seen(request: Request, s: Session) -> Asset:
    who = logins.require(request)
    asset = assets.visible(s, request.path_params["id"], who)
    if not assets.in_every_state(s, asset, who):
        raise Forbidden(
            f"Only the owner of this film, or somebody with the permission {in_words([Permission.ASSETS_LIST])}, sees its versions. Ask one of them, or an"
            " administrator for a role that has it."
        )
    return asset


def _answer(request: Request, version_id: str, status: int = 200) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        asset = assets.visible(s, request.path_params["id"], logins.require(request))
        (document,) = documents.versions_of(services, s, asset, [history.get(s, asset.id, version_id)])
    place = {"Location": f"/api/v1/assets/{asset.id}/versions/{version_id}"} if status == 201 else None
    return JSONResponse(document, status, place)


_READ = doors.readable(Permission.ASSETS_LIST, seen=Permission.ASSETS_READ)
_WRITE = doors.changeable(Permission.ASSETS_WRITE, seen=Permission.ASSETS_READ)
_DELETE = doors.changeable(Permission.ASSETS_DELETE, seen=Permission.ASSETS_READ)

routes = [
    doors.route(
        "/assets/{id}/versions",
        list_versions,
        Operation("GET", "List the versions of a film", _READ, Page[VersionDocument], query=PageQuery),
    ),
    doors.route(
        "/assets/{id}/versions/{version_id}", read_version, Operation("GET", "Read a version", _READ, VersionDocument)
    ),
    doors.route(
        "/assets/{id}/versions/{version_id}",
        delete_version,
        Operation("DELETE", "Delete a version", _DELETE, DeletedVersion, 202, refuses=(409,)),
    ),
    doors.route(
        "/assets/{id}/versions/{version_id}/renditions",
        list_renditions,
        Operation("GET", "List the renditions of a version", _READ, Page[RenditionDocument]),
    ),
    doors.route(
        "/assets/{id}/versions/{version_id}/publish",
        publish_version,
        Operation("POST", "Have a film play this version", _WRITE, VersionDocument, refuses=(409,)),
    ),
]
