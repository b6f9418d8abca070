"""Renders the admin's templates with what every page of a signed-in person shows: their name, their tabs, their CSRF token."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.errors import Problem
from streamer.ui.pages import templates

TEMPLATES = templates(Path(__file__).parent.parent / "templates")


@dataclass(frozen=True, slots=True)
class Viewer:
    """The signed-in person, as templates see them."""

    id: str
    name: str
    email: str
    role: str
    initials: str
    csrf_token: str
    may_upload: bool
    may_see_people: bool
    may_see_webhooks: bool


def render(
    request: Request, who: Principal, template: str, *, section: str, heading: str, status: int = 200, **values: Any
) -> Response:
    """A page. `section` is the tab that is lit; `values` are the template's own."""
    context = {"viewer": _viewer(who), "section": section, "heading": heading, **values}
    return TEMPLATES.TemplateResponse(request, template, context, status_code=status)


def render_gate(
    request: Request, template: str, *, heading: str, refusal: Problem | None = None, **values: Any
) -> Response:
    """A page for somebody who is not signed in; with a refusal it says why, and takes over its status."""
    faults = faults_of(refusal)
    problem = (refusal.detail or refusal.title) if refusal and not faults else ""
    headers = {name: value for name, value in refusal.headers.items() if name == "Retry-After"} if refusal else {}
    context = {"heading": heading, "problem": problem, "faults": faults, **values}
    status = refusal.status if refusal else 200
    return TEMPLATES.TemplateResponse(request, f"gate/{template}", context, status_code=status, headers=headers)


def faults_of(refusal: Problem | None) -> dict[str, str]:
    """What is wrong with which field, as a sentence for people."""
    return {fault["pointer"]: f"This {fault['detail']}." for fault in refusal.errors} if refusal else {}


def outcome(request: Request, refusal: Problem | None, done: Mapping[str, str]) -> dict[str, Any]:
    """What a page with forms says of the last one that was sent: what is wrong, by field or in one sentence, or else what `?done=` names."""
    faults = faults_of(refusal)
    return {
        "status": refusal.status if refusal else 200,
        "problem": (refusal.detail or refusal.title) if refusal and not faults else "",
        "faults": faults,
        "done": "" if refusal else done.get(request.query_params.get("done", ""), ""),
    }


def _viewer(who: Principal) -> Viewer:
    return Viewer(
        id=who.user_id,
        name=who.name,
        email=who.email,
        role=who.role,
        initials=_initials(who.name),
        csrf_token=who.csrf_token or "",
        may_upload=who.can(Permission.UPLOADS_CREATE),
        may_see_people=who.can(Permission.USERS_READ),
        may_see_webhooks=who.can(Permission.WEBHOOKS_READ),
    )


def _initials(name: str) -> str:
    words = name.split()
    chosen = words[:1] + words[1:][-1:]
    return "".join(word[0] for word in chosen).upper()
