"""Renders the site's templates, for visitors and for people who are signed in."""

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from streamer.accounts.logins import Principal
from streamer.ui.pages import templates

TEMPLATES = templates(Path(__file__).parent / "templates")


def render(request: Request, who: Principal | None, template: str, *, status: int = 200, **values: Any) -> Response:
    """A page; `who` is None for a visitor, and for error pages, which ask no database who is there."""
    context = {"signed_in": who is not None, "csrf_token": (who.csrf_token if who else None) or "", **values}
    return TEMPLATES.TemplateResponse(request, template, context, status_code=status)
