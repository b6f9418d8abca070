"""Assets, their renditions and playback ids over JSON."""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, logins
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog import assets, documents, faces, kept, playback_ids, shared, versions, versions_api
from streamer.catalog.documents import AssetDocument
from streamer.catalog.faces import PlaybackIdDocument, RenditionDocument
from streamer.catalog.tables import Asset, PlaybackId, Policy, Publication
from streamer.errors import NotFound, unfit
from streamer.jobs import queues
from streamer.jobs.tables import Job
from streamer.operations import Id, Operation, Page, PageQuery


class AssetChange(BaseModel):
    """Members that are absent stay as they are. `scheduled` and `removed` are reached in other ways."""

    model_config = ConfigDict(extra="forbid")

    title: str | None = None
    publication: Literal["draft", "in_review", "published", "unlisted", "archived"] | None = None


class NewPlaybackId(BaseModel):
    model_config = ConfigDict(extra="forbid")

    policy: Policy = Policy.PRIVATE


class AssetQuery(PageQuery, total=False):
    """Which films."""

    q: Annotated[str, Field(description="A part of the title.")]
    shared: Annotated[
        bool, Field(description="Those in the collections that you may see, whosever they are; without `q`.")
    ]


class Deleted(TypedDict):
    """It is gone for everybody; the job removes its files."""

    id: Id
    deleted: bool
    job_id: Id


def list_assets(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    if _is_shared(request):
        return JSONResponse(_shared(request, who))
    if who.can(Permission.ASSETS_LIST):
        return http.kept(*kept.page(request, services, who))
    return JSONResponse(kept.fresh_page(request, services, who))


def _is_shared(request: Request) -> bool:
    text = request.query_params.get("shared", "false")
    if text not in ("true", "false"):
        raise unfit("shared", "must be true or false", text)
    if text == "true" and "q" in request.query_params:
        raise unfit("shared", "must be without q: titles are looked for in one's own films", text)
    return text == "true"


def _shared(request: Request, who: Principal) -> Page[AssetDocument]:
    services, count = http.services(request), http.limit(request)
    with db.reading(services) as s:
        rows = shared.page(s, who, count + 1, http.cursor(request))
        shown = documents.assets(services, s, rows[:count])
    return {"data": shown, "next_cursor": shown[-1]["id"] if len(rows) > count else None}


def read_asset(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    film, hit = kept.asset(services, request.path_params["id"])
    if film is None:
        raise assets.missing()
    if not assets.is_visible(film["owner_id"], film["publication"], who):
        with db.reading(services) as s:
            if not assets.is_shared(s, film["id"], film["publication"], who):
                raise assets.missing()
    return http.kept(json.dumps(film), hit)


def change_asset(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    wanted = http.read(request, AssetChange)
    publication = Publication(wanted.publication) if wanted.publication else None

    def change(s: Session) -> Asset:
        row = assets.changeable(s, request.path_params["id"], who, Permission.ASSETS_WRITE)
        assets.change(s, row, title=wanted.title, publication=publication)
        return row

    row = db.retrying(services, change)
    with db.reading(services) as s:
        return JSONResponse(documents.asset(services, s, row))


def delete_asset(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    asset_id = request.path_params["id"]

    def delete(s: Session) -> Job:
        return assets.delete(s, assets.changeable(s, asset_id, who, Permission.ASSETS_DELETE))

    removal = db.retrying(services, delete)
    queues.dispatch(services, [removal])
    told: Deleted = {"id": asset_id, "deleted": True, "job_id": removal.id}
    return JSONResponse(told, 202)


def list_renditions(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    with db.reading(services) as s:
        row = assets.visible(s, request.path_params["id"], who)
        rows = versions.renditions(s, row.live_version_id) if row.live_version_id else []
    return JSONResponse({"data": [faces.rendition(one) for one in rows], "next_cursor": None})


def list_playback_ids(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    with db.reading(services) as s:
        row = assets.visible(s, request.path_params["id"], who)
        rows = playback_ids.of(s, [row.id])[row.id]
    return JSONResponse({"data": [faces.playback_id(one) for one in rows], "next_cursor": None})


def create_playback_id(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    wanted = http.read(request, NewPlaybackId)

    def create(s: Session) -> PlaybackId:
        row = assets.changeable(s, request.path_params["id"], who, Permission.ASSETS_WRITE)
        return playback_ids.create(s, row.id, wanted.policy)

    return JSONResponse(faces.playback_id(db.retrying(services, create)), 201)


def revoke_playback_id(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)

    def revoke(s: Session) -> bool:
        row = assets.changeable(s, request.path_params["id"], who, Permission.ASSETS_WRITE)
        return playback_ids.revoke(s, row.id, request.path_params["playback_id"])

    if not db.retrying(services, revoke):
        raise NotFound("This film has no such playback id in force.")
    return Response(status_code=204)


_READ = doors.readable(Permission.ASSETS_READ)
_WRITE = doors.changeable(Permission.ASSETS_WRITE, seen=Permission.ASSETS_READ)
_DELETE = doors.changeable(Permission.ASSETS_DELETE, seen=Permission.ASSETS_READ)

routes = [
    *versions_api.routes,
    doors.route(
        "/assets", list_assets, Operation("GET", "List films", doors.ACCOUNT, Page[AssetDocument], query=AssetQuery)
    ),
    doors.route("/assets/{id}", read_asset, Operation("GET", "Read a film", _READ, AssetDocument)),
    doors.route(
        "/assets/{id}", change_asset, Operation("PATCH", "Change a film", _WRITE, AssetDocument, body=AssetChange)
    ),
    doors.route("/assets/{id}", delete_asset, Operation("DELETE", "Delete a film", _DELETE, Deleted, 202)),
    doors.route(
        "/assets/{id}/renditions",
        list_renditions,
        Operation("GET", "List the renditions of what plays", _READ, Page[RenditionDocument]),
    ),
    doors.route(
        "/assets/{id}/playback-ids",
        list_playback_ids,
        Operation("GET", "List the playback ids of a film", _READ, Page[PlaybackIdDocument]),
    ),
    doors.route(
        "/assets/{id}/playback-ids",
        create_playback_id,
        Operation("POST", "Add a playback id", _WRITE, PlaybackIdDocument, 201, body=NewPlaybackId),
    ),
    doors.route(
        "/assets/{id}/playback-ids/{playback_id}",
        revoke_playback_id,
        Operation("DELETE", "Revoke a playback id", _WRITE, status=204),
    ),
]
