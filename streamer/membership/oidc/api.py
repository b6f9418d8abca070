"""One's own links to identity providers over JSON. In person only; they are made by signing in."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import doors, logins
from streamer.membership.oidc import links
from streamer.membership.tables import ProviderLink
from streamer.operations import Id, Listed, Operation, Time


class LinkDocument(TypedDict):
    """An account at a provider that opens the one here."""

    id: Id
    provider: str
    issuer: str
    subject: str
    created_at: Time | None
    last_used_at: Time | None


def list_links(request: Request) -> Response:
    who = logins.in_person(request)
    with db.reading(http.services(request)) as s:
        return JSONResponse({"data": [_document(row) for row in links.of(s, who.user_id)]})


def remove_link(request: Request) -> Response:
    who = logins.in_person(request)
    db.retrying(http.services(request), lambda s: links.remove(s, who.user_id, request.path_params["id"]))
    return Response(status_code=204)


def _document(row: ProviderLink) -> LinkDocument:
    return {
        "id": row.id,
        "provider": row.provider,
        "issuer": row.issuer,
        "subject": row.subject,
        "created_at": http.time(row.created_at),
        "last_used_at": http.time(row.last_used_at),
    }


routes = [
    doors.route(
        "/me/providers",
        list_links,
        Operation("GET", "List the providers you sign in by", doors.PERSON, Listed[LinkDocument]),
    ),
    doors.route(
        "/me/providers/{id}",
        remove_link,
        Operation("DELETE", "Sign in by a provider no longer", doors.PERSON, status=204),
    ),
]
