"""Collections: the list, and one with its films in their order and who may do what with them."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import see, text
from admin.views.rendering import outcome, render
from streamer import db, http
from streamer.accounts import logins, rolebook, users
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.accounts.tables import User
from streamer.catalog import assets, collection_films, collections, covers, grants
from streamer.catalog.collection_tables import Access, Collection, CollectionFilm, Grant
from streamer.catalog.tables import Asset
from streamer.errors import Conflict, Forbidden, Invalid, NotFound, Problem

HERE = "/admin/collections"
DONE = {
    "made": "The collection is made. Put films into it, and choose who may see them.",
    "changed": "Saved.",
    "granted": "Granted. It holds from their next click on.",
}
WORDS = {
    Access.VIEW: ("view", "See and play", "See the films that are out, and play them, private ones too"),
    Access.CONTRIBUTE: ("contribute", "Contribute", "Also put films of their own into it"),
    Access.EDIT: ("edit", "Edit", "Also change all films in it, and their order"),
    Access.MANAGE: ("manage", "Manage", "Everything, also whom to let in"),
}
_BY_WORD = {word: access for access, (word, _, _) in WORDS.items()}
_SHOWN, _LISTED = 200, 50
Write = Callable[[Session], object]
_REFUSED = (Invalid, Conflict, Forbidden, NotFound)


def show(request: Request, who: Principal) -> Response:
    """Those that this person sees, and the form for another one."""
    return _list(request, who)


def make(request: Request, who: Principal, form: FormData) -> Response:
    """A new one; the form again, filled in, when something is wrong with it."""
    logins.require(request, Permission.UPLOADS_CREATE)
    given = {name: text(form, name) for name in ("name", "description")}
    try:
        row = db.retrying(http.services(request), lambda s: collections.create(s, who, **given))
    except _REFUSED as refusal:
        return _list(request, who, given, refusal)
    return see(f"{HERE}/{row.id}?done=made")


def one(request: Request, who: Principal) -> Response:
    """A collection."""
    return _page(request, who)


def change(request: Request, who: Principal, form: FormData) -> Response:
    """Another name or description."""

    def write(s: Session) -> None:
        row = collections.changeable(s, request.path_params["id"], who)
        collections.change(s, row, name=text(form, "name"), description=text(form, "description"))

    return _done(request, who, write, "?done=changed")


def delete(request: Request, who: Principal, form: FormData) -> Response:
    """It is gone; its films stay."""

    def write(s: Session) -> None:
        collections.remove(s, collections.changeable(s, request.path_params["id"], who))

    db.retrying(http.services(request), write)
    return see(HERE)


def add_film(request: Request, who: Principal, form: FormData) -> Response:
    """One of this person's films, at the end."""

    def write(s: Session) -> None:
        row = collections.changeable(s, request.path_params["id"], who, Access.CONTRIBUTE)
        collection_films.add(s, row, assets.visible(s, text(form, "asset_id"), who), who)

    return _done(request, who, write)


def move_film(request: Request, who: Principal, form: FormData) -> Response:
    """One place up or down."""
    place = text(form, "place")

    def write(s: Session) -> None:
        row = collections.changeable(s, request.path_params["id"], who, Access.EDIT)
        wanted = int(place) if place.isascii() and place.isdigit() and len(place) < 6 else 1
        collection_films.move(s, row, request.path_params["asset_id"], wanted)

    return _done(request, who, write, f"?moved={request.path_params['asset_id']}")


def remove_film(request: Request, who: Principal, form: FormData) -> Response:
    """Takes a film out."""
    ids = request.path_params["id"], request.path_params["asset_id"]
    return _done(request, who, lambda s: collection_films.remove(s, *ids, who))


def give(request: Request, who: Principal, form: FormData) -> Response:
    """Lets a person, by e-mail address, or a role in."""
    access = _BY_WORD.get(text(form, "access"), Access.VIEW)
    role, email = text(form, "role"), text(form, "email").strip()

    def write(s: Session) -> Grant:
        row = collections.changeable(s, request.path_params["id"], who)
        if role and not email:
            return grants.give(s, row, access, role=role)
        return grants.give(s, row, access, user_id=_person(s, email).id)

    return _done(request, who, write, "?done=granted", {"email": email, "access": text(form, "access")})


def take_back(request: Request, who: Principal, form: FormData) -> Response:
    """Ends a grant."""

    def write(s: Session) -> None:
        row = collections.changeable(s, request.path_params["id"], who)
        grants.take_back(s, row, request.path_params["grant_id"])

    return _done(request, who, write)


def _person(s: Session, email: str) -> User:
    found = users.with_address(s, email.casefold())
    if found is None:
        told = {"pointer": "/email", "detail": "is nobody's here"}
        raise Invalid("Nobody here has this e-mail address.", errors=[told])
    return found


def _done(
    request: Request, who: Principal, write: Write, then: str = "", given: dict[str, str] | None = None
) -> Response:
    """Write, and show the page anew; the page with the reason when it was refused."""
    try:
        db.retrying(http.services(request), write)
    except _REFUSED as refusal:
        return _page(request, who, refusal, given)
    return see(f"{HERE}/{request.path_params['id']}{then}")


def _list(
    request: Request, who: Principal, given: dict[str, str] | None = None, refusal: Problem | None = None
) -> Response:
    with db.reading(http.services(request)) as s:
        rows = collections.page(s, who, _LISTED + 1, http.cursor(request))
        allowed = collections.accesses(s, rows, who)
        owners = users.names(s, (row.owner_id for row in rows))
        faces = covers.of(http.services(request), s, rows, who)
    return render(
        request,
        who,
        "collections/list.html",
        section="collections",
        heading="Collections",
        rows=rows[:_LISTED],
        older=rows[_LISTED - 1].id if len(rows) > _LISTED else "",
        covers=faces,
        owners=owners,
        access={row.id: WORDS[allowed[row.id]][1] for row in rows},
        may_make=who.can(Permission.UPLOADS_CREATE),
        form=given or {"name": "", "description": ""},
        **outcome(request, refusal, DONE),
    )


def _page(
    request: Request, who: Principal, refusal: Problem | None = None, given: dict[str, str] | None = None
) -> Response:
    with db.reading(http.services(request)) as s:
        row = collections.find(s, request.path_params["id"], who)
        access = collections.accesses(s, [row], who)[row.id]
        facts: dict[str, Any] = {
            "films": (films := _films(s, row, who, http.cursor(request))),
            "posters": covers.posters(http.services(request), s, [asset for _, asset in films]),
            "own": _own_films(s, row, who) if access >= Access.CONTRIBUTE else [],
            "grants": _grants(s, row) if access >= Access.MANAGE else [],
            "roles": [(role.name, role.name) for role in rolebook.entries(s)] if access >= Access.MANAGE else [],
            "owner": users.names(s, [row.owner_id]).get(row.owner_id, ""),
        }
    return render(
        request,
        who,
        "collections/collection.html",
        section="collections",
        heading=row.name,
        row=row,
        access=access,
        Access=Access,
        words=[(word, says) for word, says, _ in WORDS.values()],
        meaning=[(says, means) for _, says, means in WORDS.values()],
        shown=_SHOWN,
        moved=request.query_params.get("moved", ""),
        form=given or {"email": "", "access": "view"},
        **facts,
        **outcome(request, refusal, DONE),
    )


def _films(s: Session, row: Collection, who: Principal, after: str | None) -> list[tuple[CollectionFilm, Asset]]:
    films = s.scalars(collection_films.page(s, row, who, _SHOWN + 1, after)).all()
    found = {asset.id: asset for asset in assets.by_ids(s, [film.asset_id for film in films])}
    return [(film, found[film.asset_id]) for film in films]


def _own_films(s: Session, row: Collection, who: Principal) -> list[tuple[str, str]]:
    """The newest of this person's films that are not in it yet."""
    there = exists().where(CollectionFilm.collection_id == row.id, CollectionFilm.asset_id == Asset.id)
    query = select(Asset).where(Asset.owner_id == who.user_id, Asset.deleted_at.is_(None), ~there)
    return [(asset.id, asset.title) for asset in s.scalars(query.order_by(Asset.id.desc()).limit(_SHOWN))]


def _grants(s: Session, row: Collection) -> list[tuple[Grant, str, str]]:
    """Each with whom it is for and what it allows."""
    given = grants.listed(s, row)
    names = users.names(s, [grant.grantee for grant in given])
    return [
        (grant, f"Everybody with the role {role}" if (role := grants.role_of(grant)) else names.get(grant.grantee, grant.grantee), WORDS[Access(grant.level)][1])
        for grant in given
    ]  # fmt: skip
