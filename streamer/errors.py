"""Every refusal the server can give, in one tree: a status, a stable code for machines and a sentence for people.

Endpoints raise; `streamer.app` renders, as RFC 9457 problem+json for the API and as a page for browsers. A subclass
fixes status, code and title; `detail` says what is wrong with this request and what to do about it. A domain that needs
its own code subclasses the nearest of these, or passes `code=`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class Problem(Exception):
    """Root of the tree. `errors` point into the request: `[{"pointer": "/title", "detail": "is too long"}]`."""

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.code = code or self.default_code
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The members of the problem document that do not depend on the request."""
        document: dict[str, Any] = {
            "type": f"urn:streamer:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            document["detail"] = self.detail
        if self.errors:
            document["errors"] = [dict(error) for error in self.errors]
        return document


class Invalid(Problem):
    """The request cannot be understood or breaks a rule that is written down."""

    status, default_code, title = 400, "invalid", "The request is not valid"


def unfit(field: str, expected: str, given: str) -> Invalid:
    """A part of the request that is not what it has to be. What was expected stands in the sentence and beside the pointer, what was given only there."""
    told = {"pointer": f"/{field}", "detail": f"{expected}, not {given[:40]!r}"}
    return Invalid(f"{field} {expected}.", errors=[told])


class Unauthenticated(Problem):
    """Nobody is signed in, or the key is unknown or revoked."""

    status, default_code, title = 401, "unauthenticated", "Sign in or send an API key"

    def __init__(self, detail: str = "", *, code: str | None = None) -> None:
        super().__init__(detail, code=code, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Problem):
    """Known, but not allowed."""

    status, default_code, title = 403, "forbidden", "You are not allowed to do this"


class NotFound(Problem):
    """There is no such thing, or none that this principal may know of."""

    status, default_code, title = 404, "not_found", "There is nothing here"


class TooSlow(Problem):
    """The body did not arrive in time."""

    status, default_code, title = 408, "too_slow", "The request took too long to arrive"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers={"Connection": "close"})  # the rest of it may still be on its way


class Conflict(Problem):
    """The request is fine but the thing's present state is against it."""

    status, default_code, title = 409, "conflict", "The present state does not allow this"


class Gone(Problem):
    """It was here and will not be again."""

    status, default_code, title = 410, "gone", "This is no longer here"


class Locked(Problem):
    """Somebody else is at it; the same request may work as soon as they are done."""

    status, default_code, title = 423, "locked", "Somebody else is writing to this"

    def __init__(self, detail: str = "", *, code: str | None = None, retry_after_s: int = 1) -> None:
        super().__init__(detail, code=code, headers={"Retry-After": str(retry_after_s)})


class TooLarge(Problem):
    """The body is over the limit."""

    status, default_code, title = 413, "too_large", "The request is too large"


class RateLimited(Problem):
    """Too many requests of this kind; `retry_after_s` in seconds."""

    status, default_code, title = 429, "rate_limited", "Too many requests"

    def __init__(self, detail: str = "", *, retry_after_s: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


class Unavailable(Problem):
    """A server we depend on does not answer; the same request may work soon."""

    status, default_code, title = 503, "unavailable", "The service is not available at the moment"

    def __init__(self, detail: str = "", *, code: str | None = None, retry_after_s: int = 5) -> None:
        super().__init__(detail, code=code, headers={"Retry-After": str(retry_after_s)})


class StorageExhausted(Problem):
    """No room is left for what the request would store."""

    status, default_code, title = 507, "storage_full", "There is no room left on the server"
