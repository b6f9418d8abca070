"""Collections over JSON: the collections somebody sees, and the films in each. The rooms' functions say who may do what."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, logins
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog import assets, collection_films, collections, documents, grants_api
from streamer.catalog.collection_tables import Access, Collection, CollectionFilm
from streamer.catalog.documents import AssetDocument
from streamer.catalog.tables import Asset
from streamer.operations import Id, Operation, Page, PageQuery, Time
from streamer.services import Services


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewCollection(_Body):
    name: str
    description: str = ""


class CollectionChange(_Body):
    """Members that are absent stay as they are."""

    name: str | None = None
    description: str | None = None


class NewFilm(_Body):
    """`place` is 1 for the first; without it the film comes last."""

    asset_id: str = Field(max_length=32)
    place: int | None = Field(default=None, ge=1)


class FilmMove(_Body):
    place: int = Field(ge=1)


class CollectionDocument(TypedDict):
    """A collection, and what whoever asks may do with it."""

    id: Id
    name: str
    description: str
    owner_id: Id
    access: grants_api.Word
    created_at: Time
    updated_at: Time


class CollectionFilmDocument(TypedDict):
    """A film in its place, 1 for the first."""

    place: int
    added_by: Id
    added_at: Time
    asset: AssetDocument


def list_collections(request: Request) -> Response:
    """Those that whoever asks may see, newest first."""
    who, count = logins.require(request), http.limit(request)
    with db.reading(http.services(request)) as s:
        rows = collections.page(s, who, count + 1, http.cursor(request))
        shown = _documents(s, rows[:count], who)
    return JSONResponse({"data": shown, "next_cursor": shown[-1]["id"] if len(rows) > count else None})


def create_collection(request: Request) -> Response:
    who, wanted = logins.require(request), http.read(request, NewCollection)
    row = db.retrying(http.services(request), lambda s: collections.create(s, who, wanted.name, wanted.description))
    return JSONResponse(_document(row, Access.MANAGE), 201, {"Location": f"/api/v1/collections/{row.id}"})


def read_collection(request: Request) -> Response:
    who = logins.require(request)
    with db.reading(http.services(request)) as s:
        return JSONResponse(_documents(s, [collections.find(s, request.path_params["id"], who)], who)[0])


def change_collection(request: Request) -> Response:
    who = grants_api.admitted(request, Access.MANAGE)
    wanted = http.read(request, CollectionChange)

    def change(s: Session) -> Collection:
        row = collections.changeable(s, request.path_params["id"], who)
        collections.change(s, row, name=wanted.name, description=wanted.description)
        return row

    return JSONResponse(_document(db.retrying(http.services(request), change), Access.MANAGE))


def delete_collection(request: Request) -> Response:
    """The films stay."""
    who = logins.require(request)

    def delete(s: Session) -> None:
        collections.remove(s, collections.changeable(s, request.path_params["id"], who))

    db.retrying(http.services(request), delete)
    return Response(status_code=204)


def list_films(request: Request) -> Response:
    """In their order. What is not out is only shown to those who may change it."""
    who, services, count = logins.require(request), http.services(request), http.limit(request)
    with db.reading(services) as s:
        row = collections.find(s, request.path_params["id"], who)
        rows = s.scalars(collection_films.page(s, row, who, count + 1, http.cursor(request))).all()
        shown = _films(services, s, rows[:count])
    return JSONResponse({"data": shown, "next_cursor": rows[count - 1].asset_id if len(rows) > count else None})


def add_film(request: Request) -> Response:
    """One's own, or anybody's for those who may change anyone's."""
    who, services = grants_api.admitted(request, Access.CONTRIBUTE), http.services(request)
    wanted = http.read(request, NewFilm)

    def add(s: Session) -> CollectionFilm:
        row = collections.changeable(s, request.path_params["id"], who, Access.CONTRIBUTE)
        film = collection_films.add(s, row, assets.visible(s, wanted.asset_id, who), who)
        if wanted.place is not None:
            collections.find(s, row.id, who, Access.EDIT)
            collection_films.move(s, row, film.asset_id, wanted.place)
        return film

    film = db.retrying(services, add)
    with db.reading(services) as s:
        return JSONResponse(_films(services, s, [film])[0], 201)


def move_film(request: Request) -> Response:
    who, services = grants_api.admitted(request, Access.EDIT), http.services(request)
    wanted = http.read(request, FilmMove)

    def move(s: Session) -> CollectionFilm:
        row = collections.changeable(s, request.path_params["id"], who, Access.EDIT)
        return collection_films.move(s, row, request.path_params["asset_id"], wanted.place)

    film = db.retrying(services, move)
    with db.reading(services) as s:
        return JSONResponse(_films(services, s, [film])[0])


def remove_film(request: Request) -> Response:
    who = logins.require(request)

    def remove(s: Session) -> None:
        collection_films.remove(s, request.path_params["id"], request.path_params["asset_id"], who)

    db.retrying(http.services(request), remove)
    return Response(status_code=204)


def _documents(s: Session, rows: Sequence[Collection], who: Principal) -> list[CollectionDocument]:
    allowed = collections.accesses(s, rows, who)
    return [_document(row, allowed[row.id]) for row in rows]


def _document(row: Collection, access: Access) -> CollectionDocument:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "owner_id": row.owner_id,
        "access": grants_api.word(access),
        "created_at": row.created_at.isoformat(),
        "updated_at": row.updated_at.isoformat(),
    }


def _films(services: Services, s: Session, rows: Sequence[CollectionFilm]) -> list[CollectionFilmDocument]:
    """A fixed number of queries, however many rows."""
    found = {row.id: row for row in assets.by_ids(s, [film.asset_id for film in rows])}
    films: list[Asset] = [found[film.asset_id] for film in rows]
    return [
        {
            "place": film.place,
            "added_by": film.added_by,
            "added_at": film.added_at.isoformat(),
            "asset": asset,
        }
        for film, asset in zip(rows, documents.assets(services, s, films), strict=True)
    ]


_SEE = doors.readable(Permission.ASSETS_LIST)

routes = [
    *grants_api.routes,
    doors.route(
        "/collections",
        list_collections,
        Operation("GET", "List collections", doors.ACCOUNT, Page[CollectionDocument], query=PageQuery),
    ),
    doors.route(
        "/collections",
        create_collection,
        Operation(
            "POST",
            "Make a collection",
            doors.allowed(Permission.UPLOADS_CREATE),
            CollectionDocument,
            201,
            body=NewCollection,
        ),
    ),
    doors.route("/collections/{id}", read_collection, Operation("GET", "Read a collection", _SEE, CollectionDocument)),
    doors.route(
        "/collections/{id}",
        change_collection,
        Operation("PATCH", "Change a collection", grants_api.CHANGE, CollectionDocument, body=CollectionChange),
    ),
    doors.route(
        "/collections/{id}",
        delete_collection,
        Operation("DELETE", "Delete a collection", grants_api.CHANGE, status=204),
    ),
    doors.route(
        "/collections/{id}/films",
        list_films,
        Operation("GET", "List the films of a collection", _SEE, Page[CollectionFilmDocument], query=PageQuery),
    ),
    doors.route(
        "/collections/{id}/films",
        add_film,
        Operation(
            "POST",
            "Put a film into a collection",
            grants_api.CHANGE,
            CollectionFilmDocument,
            201,
            body=NewFilm,
            refuses=(409,),
        ),
    ),
    doors.route(
        "/collections/{id}/films/{asset_id}",
        move_film,
        Operation("PATCH", "Move a film to another place", grants_api.CHANGE, CollectionFilmDocument, body=FilmMove),
    ),
    doors.route(
        "/collections/{id}/films/{asset_id}",
        remove_film,
        Operation("DELETE", "Take a film out of a collection", grants_api.CHANGE, status=204),
    ),
]
