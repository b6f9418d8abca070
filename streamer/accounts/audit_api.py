"""The audit log over JSON: newest first in pages, or all of it as JSON Lines, oldest first."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from pydantic import Field
from sqlalchemy import Select, select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from typing_extensions import TypedDict

from streamer import db, http, ids
from streamer.accounts import audit, doors
from streamer.accounts.audit import EntryDocument
from streamer.accounts.roles import Permission
from streamer.accounts.tables import AuditEntry
from streamer.errors import Invalid
from streamer.operations import Id, Operation, Page, Time
from streamer.services import Services

_CURSOR_DIGITS = 18


class AuditQuery(TypedDict, total=False):
    """All that is given has to be true of an entry. Times are ISO 8601 with their zone."""

    limit: Annotated[int, Field(ge=1, le=http.PAGE_MAX)]
    cursor: Annotated[
        str, Field(pattern=f"^[0-9]{{1,{_CURSOR_DIGITS}}}$", description="The next_cursor of the page before.")
    ]
    user_id: Id
    subject_id: str
    key_id: Id
    action: str
    since: Time
    until: Time


_IDS = {"user_id": AuditEntry.user_id, "subject_id": AuditEntry.subject_id, "key_id": AuditEntry.key_id}


def list_entries(request: Request) -> Response:
    """Filters: `user_id`, `subject_id`, `key_id`, `action`, `since`, `until` (ISO 8601)."""
    count = http.limit(request)
    query = _filtered(request, select(AuditEntry))
    if cursor := request.query_params.get("cursor"):
        query = query.where(AuditEntry.sequence < _number(cursor))
    with db.reading(http.services(request)) as s:
        rows = s.scalars(query.order_by(AuditEntry.sequence.desc()).limit(count + 1)).all()
    shown = rows[:count]
    more = str(shown[-1].sequence) if len(rows) > count else None
    return JSONResponse({"data": [audit.document(row) for row in shown], "next_cursor": more})


def export(request: Request) -> Response:
    """Everything, a line each."""
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(_lines(http.services(request)), media_type="application/jsonl", headers=headers)


def _lines(services: Services) -> Iterator[str]:
    for entry in audit.walk(services):
        yield json.dumps(audit.document(entry), ensure_ascii=False) + "\n"


def _filtered(request: Request, query: Select[AuditEntry]) -> Select[AuditEntry]:
    given = request.query_params
    for name, column in _IDS.items():
        if value := given.get(name):
            query = query.where(column == (value if ids.is_id(value) else ""))
    if action := given.get("action"):
        query = query.where(AuditEntry.action == (action if action.isascii() else ""))
    if since := given.get("since"):
        query = query.where(AuditEntry.at >= _moment("since", since))
    if until := given.get("until"):
        query = query.where(AuditEntry.at < _moment("until", until))
    return query


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Invalid(
            f"{name} must be a time with its zone, such as 2026-11-23T08:00:00Z.",
            errors=[{"pointer": f"/{name}", "detail": text[:40]}],
        )
    return moment


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _CURSOR_DIGITS):
        raise Invalid(
            "cursor must be a next_cursor from the page before.", errors=[{"pointer": "/cursor", "detail": text[:40]}]
        )
    return int(text)


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
