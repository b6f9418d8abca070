"""Renders every refusal: problem+json (RFC 9457) for programs, a page for people.

The one place where errors of the libraries below become ours: a database, Redis or storage that does not answer is 503
with Retry-After, not 500. What is unexpected is logged with its traceback and answered without it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NotRequired

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler
from typing_extensions import TypedDict

from storage import StorageDown, StorageFull, UploadBusy
from streamer.errors import Forbidden, Invalid, Locked, NotFound, Problem, StorageExhausted, TooLarge, Unavailable


class Wrong(TypedDict):
    """What is wrong with one member of the request."""

    pointer: str
    detail: str


class ProblemDocument(TypedDict):
    """A refusal (RFC 9457). `code` never changes its meaning; `errors` point into the request; `challenge` comes when a second factor is needed."""

    type: str
    title: str
    status: int
    code: str
    instance: str
    detail: NotRequired[str]
    errors: NotRequired[list[Wrong]]
    request_id: NotRequired[str]
    challenge: NotRequired[str]


ErrorPage = Callable[[Request, Problem], Response]
"""Renders a refusal as HTML; `create_app` keeps it at `app.state.error_page`."""

log = structlog.get_logger(__name__)


class MethodNotAllowed(Problem):
    """The path is right, the method is not."""

    status, default_code, title = 405, "method_not_allowed", "This method is not available here"


class HttpRefusal(Problem):
    """A refusal by Starlette that has no class of its own here; its status is the instance's."""

    default_code, title = "refused", "The request was refused"


_BY_STATUS: Mapping[int, type[Problem]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
}


def answer(request: Request, error: Exception) -> Response:
    """The response to an error that left an endpoint."""
    problem = of(error)
    if problem.status == 500:
        log.error("request failed", path=request.url.path, exc_info=error)
    elif problem.status > 500:
        log.warning("request refused", path=request.url.path, code=problem.code, error=str(error))
    if _wants_page(request):
        page: ErrorPage | None = getattr(request.app.state, "error_page", None)
        if page is not None:
            return page(request, problem)
    return as_json(request, problem)


def as_json(request: Request, problem: Problem) -> Response:
    """The problem document, never to be stored."""
    body = problem.body() | {"instance": request.url.path}
    if request_id := getattr(request.state, "request_id", None):
        body["request_id"] = request_id
    headers = {"Cache-Control": "no-store", **problem.headers}
    return JSONResponse(body, problem.status, headers, media_type="application/problem+json")


def of(error: Exception) -> Problem:
    """The refusal in our tree that an error means."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, (OperationalError, InterfaceError, PoolTimeout)):
        return Unavailable("The database does not answer; try again in a moment.", code="database_unavailable")
    if isinstance(error, RedisError):
        return Unavailable("Redis does not answer; try again in a moment.", code="redis_unavailable")
    if isinstance(error, StorageDown):
        return Unavailable("The storage does not answer; try again in a moment.", code="storage_unavailable")
    if isinstance(error, StorageFull):
        return StorageExhausted("There is no room left on the server.")
    if isinstance(error, UploadBusy):
        return Locked(
            "Another request is sending to this upload; wait for it or end it, then ask for the offset again."
        )
    return Problem()


_HANDLED: tuple[type[Exception], ...] = (
    Problem,
    HTTPException,
    OperationalError,
    InterfaceError,
    PoolTimeout,
    RedisError,
    StorageDown,
    StorageFull,
    UploadBusy,
)


def handlers() -> dict[Any, ExceptionHandler]:
    """For Starlette's `exception_handlers`; what is not named here ends in `middleware.LastResort`."""
    return dict.fromkeys(_HANDLED, answer)


def _of_http(error: HTTPException) -> Problem:
    headers = dict(error.headers or {})
    if kind := _BY_STATUS.get(error.status_code):
        return kind(headers=headers)
    problem = HttpRefusal(error.detail, headers=headers)
    problem.status = error.status_code  # type: ignore[misc]  # the one class whose status is not fixed
    return problem


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")
