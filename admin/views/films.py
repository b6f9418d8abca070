"""The library, the upload page and the page of one film. What moves on them is fetched from the API by their scripts."""

from starlette.requests import Request
from starlette.responses import Response

from admin.views.rendering import render
from streamer import db
from streamer.accounts import logins
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog import assets, documents
from streamer.catalog.tables import Publication
from streamer.services import Services

PUBLICATIONS = (
    (Publication.PUBLISHED, "Published"),
    (Publication.UNLISTED, "Unlisted: by link only"),
    (Publication.IN_REVIEW, "In review"),
    (Publication.DRAFT, "Draft"),
    (Publication.ARCHIVED, "Archived"),
)


def library(request: Request, who: Principal) -> Response:
    """All films this person may list."""
    return render(request, who, "films/library.html", section="library", heading="Library")


def upload(request: Request, who: Principal) -> Response:
    """Where films are dropped."""
    logins.require(request, Permission.UPLOADS_CREATE)
    services: Services = request.app.state.services
    limit = services.config.ingest.max_upload_bytes
    return render(request, who, "films/upload.html", section="upload", heading="Upload", max_bytes=limit)


def asset(request: Request, who: Principal) -> Response:
    """One film: playing it, its state, its versions, its links and facts."""
    services: Services = request.app.state.services
    with db.reading(services) as s:
        row = assets.visible(s, request.path_params["id"], who)
        film = documents.asset(services, s, row)
        may_change = assets.may(s, row, who, Permission.ASSETS_WRITE)
        sees_versions = assets.in_every_state(s, row, who)
    return render(
        request,
        who,
        "films/asset.html",
        section="library",
        heading=film["title"],
        film=film,
        publications=PUBLICATIONS,
        may_change=may_change,
        may_delete=row.owner_id == who.user_id or who.can(Permission.ASSETS_DELETE),
        sees_versions=sees_versions,
        max_bytes=services.config.ingest.max_upload_bytes,
    )
