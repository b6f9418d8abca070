"""A refusal as a page, for people who followed a link; programs get problem+json (see streamer.problems)."""

from starlette.requests import Request
from starlette.responses import Response

from streamer.errors import Problem
from streamer.site.rendering import render


def page(request: Request, problem: Problem) -> Response:
    """The page of a refusal, with its status and headers, never stored."""
    response = render(
        request,
        getattr(request.state, "principal", None),  # whom the endpoint found, if it came so far
        "errors/page.html",
        status=problem.status,
        number=problem.status,
        title=problem.title,
        detail=problem.detail,
        request_id=getattr(request.state, "request_id", "") if problem.status >= 500 else "",
    )
    response.headers.update({"Cache-Control": "no-store", **problem.headers})
    return response
