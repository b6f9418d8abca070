"""The audit log: who did what to what, filtered, page by page, and whether its chain holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from admin.views.rendering import render
from streamer import db, http
from streamer.accounts import audit, audit_chain, audit_search, logins, users
from streamer.accounts.audit_search import Wanted
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.accounts.tables import AuditEntry
from streamer.errors import Invalid, Problem
from streamer.services import Services

HERE = "/admin/audit"
WAYS = {
    "session": "signed in",
    "key": "with an API key",
    "link": "with a link from a letter",
    "visitor": "not signed in",
    "command_line": "on the command line",
    "server": "the server itself",
}
_FIELDS = ("who", "action", "since", "until")
_PLACES = {"usr": "/admin/people/", "ast": "/admin/assets/"}


@dataclass(frozen=True, slots=True)
class Line:
    """An entry as the page shows it; `facts` are name, before and after."""

    entry: AuditEntry
    actor: str
    way: str
    address: str
    subject: str
    href: str
    facts: list[tuple[str, str, str]]


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
        lines, actions = _lines(s, rows), audit_search.actions(s)
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
        actions=[("", "Everything"), *((action, action) for action in actions)],
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


def _lines(s: Session, rows: Sequence[AuditEntry]) -> list[Line]:
    ids = {row.user_id for row in rows} | {row.subject_id for row in rows}
    names = users.names(s, (one for one in ids if one and one.startswith("usr_")))
    return [_line(row, names) for row in rows]


def _line(row: AuditEntry, names: dict[str, str]) -> Line:
    told = _readable({**audit.document(row)})
    place = _PLACES.get(row.subject_id.partition("_")[0])
    return Line(
        entry=row,
        actor=names.get(row.user_id or "", row.user_id or ""),
        way=WAYS.get(row.way, row.way),
        address=told["address"] or "",
        subject=names.get(row.subject_id, row.subject_id),
        href=place + row.subject_id if place else "",
        facts=list(_facts(told["before"] or {}, told["after"] or {})),
    )


def _readable(told: dict[str, Any]) -> dict[str, Any]:
    """The document with a word in place of what was erased."""
    for place in (place for place, salt in told["personal"].items() if salt is None):
        side, _, name = place.rpartition(".")
        (told[side] if side else told)[name] = "erased"
    return told


def _facts(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys((*before, *after)):
        yield name.replace("_", " "), _words(before.get(name)), _words(after.get(name))


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "" if value is None else str(value)


def _checked(services: Services) -> tuple[bool, str]:
    try:
        count, last = audit_chain.verify(services)
    except audit_chain.Broken as broken:
        return False, f"The audit log is broken. {broken}"
    return True, f"{count:,} entries, nothing altered. The last hash, to be kept elsewhere: {last}"
