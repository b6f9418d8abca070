"""The audit log over JSON: newest first in pages, or all of it as JSON Lines, oldest first."""

import json
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Select, select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from streamer import db, http, ids
from streamer.accounts import audit, logins
from streamer.accounts.roles import Permission
from streamer.accounts.tables import AuditEntry
from streamer.errors import Invalid
from streamer.services import Services

_IDS = {"user_id": AuditEntry.user_id, "subject_id": AuditEntry.subject_id, "key_id": AuditEntry.key_id}


def list_entries(request: Request) -> Response:
    """Filters: `user_id`, `subject_id`, `key_id`, `action`, `since`, `until` (ISO 8601)."""
    logins.require(request, Permission.AUDIT_READ)
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
    logins.require(request, Permission.AUDIT_READ)
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
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid(
            "cursor must be a next_cursor from the page before.", errors=[{"pointer": "/cursor", "detail": text[:40]}]
        )
    return int(text)


routes = [Route("/audit", list_entries), Route("/audit/export", export)]
