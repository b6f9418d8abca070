"""The audit log: who did what to what, filtered, page by page, and whether its chain holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from admin.views import audit_subjects, audit_words
from admin.views.audit_subjects import Subject
from admin.views.audit_words import Change
from admin.views.rendering import render
from streamer import db, http
from streamer.accounts import audit, audit_chain, audit_search, logins, users
from streamer.accounts.audit_search import Wanted
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.accounts.tables import AuditEntry
from streamer.errors import Invalid, Problem
from streamer.services import Services

_FIELDS = ("who", "action", "since", "until")


@dataclass(frozen=True, slots=True)
class Line:
    """An entry as the page shows it. Without a subject when that is whoever acted."""

    entry: AuditEntry
    words: str
    refused: bool
    subject: Subject | None
    actor: Subject | None
    way: str
    address: str
    changes: list[Change]


def show(request: Request, who: Principal) -> Response:
    """A page of entries; with `?check=yes` also whether anything was altered, which reads all of them."""
    logins.require(request, Permission.AUDIT_READ)
    services = http.services(request)
    given = {name: request.query_params.get(name, "").strip() for name in _FIELDS}
    rows: Sequence[AuditEntry] = []
    cursor, refusal = None, None
    with db.reading(services) as s:
        try:
            rows, cursor = audit_search.page(s, _wanted(s, given), http.PAGE, request.query_params.get("cursor"))
        except Problem as problem:
            refusal = problem
        lines, actions = _lines(s, who, rows), audit_search.actions(s)
    checked = _checked(services) if request.query_params.get("check") == "yes" else None
    return render(
        request,
        who,
        "audit/list.html",
        section="people",
        heading="Audit log",
        status=refusal.status if refusal else 200,
        problem=(refusal.detail or refusal.title) if refusal else "",
        lines=lines,
        actions=[
            ("", "Everything"),
            *sorted(((action, audit_words.said(action)) for action in actions), key=itemgetter(1)),
        ],
        form=given,
        filtered=any(given.values()),
        older=urlencode({**{name: value for name, value in given.items() if value}, "cursor": cursor})
        if cursor
        else "",
        checked=checked,
    )


def _wanted(s: Session, given: dict[str, str]) -> Wanted:
    person = users.find(s, given["who"]).id if given["who"] else None
    return Wanted(person=person, action=given["action"] or None, since=_moment(given["since"]), until=_moment(given["until"]))  # fmt: skip


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError:
        raise Invalid("Say from when until when as a date and a time.") from None


def _lines(s: Session, who: Principal, rows: Sequence[AuditEntry]) -> list[Line]:
    named = audit_subjects.found(s, who, rows)
    return [_line(row, named) for row in rows]


def _line(row: AuditEntry, named: dict[str, Subject]) -> Line:
    told = _readable({**audit.document(row)})
    before, after = told["before"] or {}, told["after"] or {}
    actor = named.get(row.user_id, Subject(row.user_id)) if row.user_id else None
    return Line(
        entry=row,
        words=audit_words.said(row.action),
        refused=audit_words.is_refused(row.action),
        subject=named.get(row.subject_id) or audit_subjects.told(row, {**before, **after}) if row.subject_id != row.user_id else None,
        actor=actor,
        way=audit_words.WAYS.get(row.way, row.way),
        address=told["address"] or "",
        changes=list(audit_words.changes(before, after, lambda one: named[one].name if one in named else one)),
    )  # fmt: skip


def _readable(told: dict[str, Any]) -> dict[str, Any]:
    """The document with a word in place of what was erased."""
    for place in (place for place, salt in told["personal"].items() if salt is None):
        side, _, name = place.rpartition(".")
        (told[side] if side else told)[name] = "erased"
    return told


def _checked(services: Services) -> tuple[bool, str]:
    try:
        count, last = audit_chain.verify(services)
    except audit_chain.Broken as broken:
        return False, f"The audit log is broken. {broken}"
    return True, f"{count:,} entries, nothing altered. The last hash, to be kept elsewhere: {last}"
