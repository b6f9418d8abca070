"""What a route of the API promises, as data beside the route: who may ask, what it takes, what it answers, how it refuses.

`accounts.doors.route` makes the route of it and enforces the first part; `openapi` writes all of it down for people and programs; tests ask every
route as everybody and compare. Answers are TypedDicts that the functions which make them really return, so that mypy checks them and nothing is
validated again while serving; bodies are the pydantic models that `http.read` validates.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from typing_extensions import TypedDict

from streamer import ids
from streamer.http import PAGE, PAGE_MAX
from streamer.problems import MethodNotAllowed

T = TypeVar("T")

JSON = "application/json"
BYTES = "application/octet-stream"

Id = Annotated[str, Field(pattern=ids.PATTERN)]
"""As `ids.new` makes them."""

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def one_of(kind: type[StrEnum]) -> FieldInfo:
    """For text that rows keep as text: `Annotated[str, one_of(State)]`."""
    described: FieldInfo = Field(json_schema_extra={"enum": [member.value for member in kind]})
    return described


class Door(StrEnum):
    """What somebody has to show at all."""

    OPEN = "open"  # nothing
    ACCOUNT = "account"  # a session or a key
    WHOLE = "whole"  # a session or a key whose scopes are not narrowed
    PERSON = "person"  # a session
    ENROLLING = "enrolling"  # a session, even of somebody who has yet to set up a second factor


class Owner(StrEnum):
    """What it means that a thing is one's own."""

    NONE = "none"  # nothing: the permission decides
    TOO = "too"  # one needs no permission
    WHOLLY = "wholly"  # one needs no permission, but all rights of one's role: a narrowed key is not enough
    ONLY = "only"  # others' do not exist, whatever one may do


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask. Without the permission `seen`, what is somebody else's does not exist: 404, not 403."""

    door: Door = Door.ACCOUNT
    permission: str | None = None
    owner: Owner = Owner.NONE
    seen: str | None = None


OPEN = Access(Door.OPEN)
ACCOUNT = Access()
PERSON = Access(Door.PERSON)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    `body` is a model of JSON, `file` the media type of a body that is a file; one of them may stand for the other. `query` and `headers` are
    TypedDicts. `also` are further successful answers by status, `refuses` the statuses of refusals that are not everybody's (see `openapi`).
    """

    method: str
    summary: str
    access: Access
    answer: Any = None
    status: int = 200
    body: type[BaseModel] | None = None
    file: str = ""
    query: Any = None
    headers: Any = None
    also: Mapping[int, Any] = field(default_factory=dict)
    refuses: Sequence[int] = ()
    media: str = JSON
    about: str = ""


class ApiRoute(Route):
    """A route with its operations, and the methods that take an Idempotency-Key."""

    operations: tuple[Operation, ...] = ()
    once: frozenset[str] = frozenset()


class OtherMethods:
    """Behind the routes of a path: refuses what none of them does, and says what they do. Starlette would name the methods of the first one only."""

    def __init__(self, allowed: Collection[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise MethodNotAllowed(headers={"Allow": self.allowed})


def by_path(routes: Sequence[ApiRoute]) -> list[Route]:
    """The routes, those of a path together and its `OtherMethods` behind them, in the order in which the paths came first."""
    paths: dict[str, list[Route]] = {}
    for route in routes:
        paths.setdefault(route.path, []).append(route)
    allowed = {path: {method for one in found for method in one.methods or ()} for path, found in paths.items()}
    return [one for path, found in paths.items() for one in (*found, Route(path, OtherMethods(allowed[path])))]


@dataclass(frozen=True, slots=True)
class Special:
    """What few routes need: middleware of their own, another limit of the body, an Idempotency-Key though they ask themselves."""

    middleware: Sequence[Middleware] = ()
    max_body_size: int | None = None
    once: bool = False


class PageQuery(TypedDict, total=False):
    """Of every list."""

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, description=f"How many at most; {PAGE} when it is not said.")]
    cursor: Annotated[str, Field(pattern=ids.PATTERN, description="The next_cursor of the page before.")]


class Listed(TypedDict, Generic[T]):
    """All of them."""

    data: list[T]


class Page(TypedDict, Generic[T]):
    """Newest first; `next_cursor` asks for the following page and is null on the last one."""

    data: list[T]
    next_cursor: str | None
