"""The audit log over JSON: newest first in pages, or all of it as JSON Lines, oldest first."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from typing_extensions import TypedDict

from streamer import db, http
from streamer.accounts import audit, audit_chain, audit_search, doors
from streamer.accounts.audit import EntryDocument
from streamer.accounts.audit_search import Wanted
from streamer.accounts.roles import Permission
from streamer.errors import unfit
from streamer.operations import Operation, Page, Time
from streamer.services import Services


class AuditQuery(TypedDict, total=False):
    """All that is given has to be true of an entry. Times are ISO 8601 with their zone."""

    limit: Annotated[int, Field(ge=1, le=http.PAGE_MAX)]
    cursor: Annotated[
        str,
        Field(pattern=f"^[0-9]{{1,{audit_search.CURSOR_DIGITS}}}$", description="The next_cursor of the page before."),
    ]
    user_id: str
    subject_id: str
    key_id: str
    action: str
    since: Time
    until: Time


def list_entries(request: Request) -> Response:
    """Filters: `user_id`, `subject_id`, `key_id`, `action`, `since`, `until` (ISO 8601)."""
    count, wanted = http.limit(request), _wanted(request)
    with db.reading(http.services(request)) as s:
        rows, cursor = audit_search.page(s, wanted, count, request.query_params.get("cursor"))
    return JSONResponse({"data": [audit.document(row) for row in rows], "next_cursor": cursor})


def export(request: Request) -> Response:
    """Everything, a line each."""
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(_lines(http.services(request)), media_type="application/jsonl", headers=headers)


def _lines(services: Services) -> Iterator[str]:
    for entry in audit_chain.walk(services):
        yield json.dumps(audit.document(entry), ensure_ascii=False) + "\n"


def _wanted(request: Request) -> Wanted:
    given = request.query_params
    return Wanted(
        user_id=given.get("user_id"),
        subject_id=given.get("subject_id"),
        key_id=given.get("key_id"),
        action=given.get("action"),
        since=_moment("since", given.get("since")),
        until=_moment("until", given.get("until")),
    )


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise unfit(name, "must be a time with its zone, such as 2026-11-23T08:00:00Z", text)
    return moment


_READ = doors.allowed(Permission.AUDIT_READ)

routes = [
    doors.route(
        "/audit", list_entries, Operation("GET", "List who changed what", _READ, Page[EntryDocument], query=AuditQuery)
    ),
    doors.route(
        "/audit/export",
        export,
        Operation("GET", "Export all of the audit log", _READ, EntryDocument, media="application/jsonl"),
    ),
]
