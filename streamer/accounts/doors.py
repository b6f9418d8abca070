"""Routes of the API, each with its lock: nobody comes in whom its operation does not name.

`route` is the only way to a route of the API (`streamer.app` refuses others at start-up), and without an `Access` there is none, so that what
somebody forgot to say is refused, not granted. The lock asks `logins.require` or `logins.in_person` before the endpoint runs, in the same
thread. What it can't know is whose thing it is: where an owner needs no permission, it asks for an account and the room compares (`assets.permitted`
and its like); tests ask each such route about own and foreign things as everybody. Endpoints that take films ask themselves, because they have to read on
before they refuse (`ingest.stream.linger`); the same tests ask them. Behind the lock, requests with an `Idempotency-Key` are done once.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from anyio import from_thread
from starlette.requests import Request
from starlette.responses import Response

from streamer.accounts import idempotency, logins
from streamer.accounts.roles import Permission
from streamer.errors import Forbidden
from streamer.operations import ACCOUNT, OPEN, PERSON, Access, ApiRoute, Door, Operation, Owner, Special

Endpoint = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]

__all__ = ["ACCOUNT", "ENROLLING", "OPEN", "PERSON", "WHOLE", "allowed", "changeable", "own", "readable", "route"]

ENROLLING = Access(Door.ENROLLING)
WHOLE = Access(Door.WHOLE)


def route(
    path: str, endpoint: Endpoint, *operations: Operation, asks_itself: bool = False, special: Special | None = None
) -> ApiRoute:
    """A route for these operations, with its lock unless the endpoint `asks_itself`."""
    special = special or Special()
    by_lock = not asks_itself and not iscoroutinefunction(endpoint)
    once = _done_once(operations) if by_lock or special.once else frozenset()
    made = ApiRoute(
        path,
        endpoint if asks_itself else _locked(endpoint, {one.method: one.access for one in operations}, once),
        methods=[one.method for one in operations],
        middleware=list(special.middleware) or None,
        max_body_size=special.max_body_size,
    )
    made.operations, made.once = operations, once
    return made


def allowed(permission: Permission) -> Access:
    """Who has it."""
    return Access(permission=permission)


def own(permission: Permission | None = None) -> Access:
    """What is theirs, for those with the permission; others' things do not exist."""
    return Access(permission=permission, owner=Owner.ONLY)


def readable(permission: Permission, seen: Permission | None = None) -> Access:
    """Whose it is, and who has the permission."""
    return Access(permission=permission, owner=Owner.TOO, seen=seen or permission)


def changeable(permission: Permission, seen: Permission) -> Access:
    """Whose it is, with all rights of their role, and who has the permission."""
    return Access(permission=permission, owner=Owner.WHOLLY, seen=seen)


def _done_once(operations: Sequence[Operation]) -> frozenset[str]:
    """What makes or changes something for an account. Not what is done in person: it takes passwords, and starts sessions."""
    doors = (Door.ACCOUNT, Door.WHOLE)
    return frozenset(one.method for one in operations if one.method in ("POST", "PATCH") and one.access.door in doors)


def _locked(endpoint: Endpoint, doors: Mapping[str, Access], once: Collection[str]) -> Endpoint:
    def access(request: Request) -> Access:
        return doors["GET" if request.method == "HEAD" and "HEAD" not in doors else request.method]

    if iscoroutinefunction(endpoint):

        @wraps(endpoint)
        async def locked_async(request: Request) -> Response:
            await logins.principal_async(request)
            _enter(request, access(request))
            answer: Response = await endpoint(request)
            return answer

        return locked_async

    @wraps(endpoint)
    def locked(request: Request) -> Any:
        _enter(request, access(request))
        if request.method not in once or idempotency.HEADER not in request.headers:
            return endpoint(request)
        body = from_thread.run(request.body)
        return idempotency.once(request, logins.require(request).user_id, body, lambda: endpoint(request))  # type: ignore[arg-type, return-value]

    return locked


def _enter(request: Request, access: Access) -> None:
    """Or the refusal that fits."""
    if access.door is Door.OPEN:
        return
    if access.door in (Door.PERSON, Door.ENROLLING):
        logins.in_person(request, enrolling=access.door is Door.ENROLLING)
        return
    decides = access.permission if access.owner in (Owner.NONE, Owner.ONLY) else None
    who = logins.require(request, Permission(decides) if decides else None)
    if access.door is Door.WHOLE and not who.unrestricted:
        raise Forbidden("A key with narrowed scopes can't do this. Use one with all rights of your role.")
