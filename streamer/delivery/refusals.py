"""Why the origin refuses, in the server's tree of errors.

A forged token and a broken one look the same from outside; only the holder of a genuine one is told that it expired (the player then
asks for a new one), that the rendition is above what it allows, or that the session was ended.
"""

from __future__ import annotations

from streamer.delivery.tokens import Reason
from streamer.errors import Forbidden, Problem


class TokenInvalid(Forbidden):
    default_code, title = "token_refused", "This address does not open anything"


class TokenExpired(Forbidden):
    default_code, title = "token_expired", "This address has expired"


class RenditionRefused(Forbidden):
    default_code, title = "rendition_refused", "This session may not play this rendition"


class SessionEnded(Forbidden):
    default_code, title = "session_ended", "This playback session was ended"


class MethodNotAllowed(Problem):
    """`allow` lists the methods there are."""

    status, default_code, title = 405, "method_not_allowed", "Media can only be read"

    def __init__(self, allow: str) -> None:
        super().__init__(headers={"Allow": allow})


class PreconditionFailed(Problem):
    status, default_code, title = 412, "precondition_failed", "The object is not the one you asked about"


class RangeNotSatisfiable(Problem):
    """`size` of the object in bytes."""

    status, default_code, title = 416, "range_not_satisfiable", "The range lies outside the object"

    def __init__(self, size: int) -> None:
        super().__init__(f"It has {size} bytes.", headers={"Content-Range": f"bytes */{size}"})


def token_refusal(reason: Reason) -> Problem:
    if reason is Reason.EXPIRED:
        return TokenExpired("Open a new playback session, or renew this one.")
    if reason is Reason.RUNG:
        return RenditionRefused()
    return TokenInvalid()
