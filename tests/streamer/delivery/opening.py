"""A served path opened as the origin opens it: signature, time and rung, in its order."""

from __future__ import annotations

from streamer.delivery import tokens
from streamer.delivery.tokens import Grant, Keys


def opened(keys: Keys, path: str, now: float) -> tuple[Grant, str]:
    """The grant and the name under its prefix. Raises TokenRefused."""
    ticket, rest = tokens.split(path)
    grant = tokens.admit(keys, ticket)
    tokens.check_time(grant, now)
    tokens.check_rung(grant, rest)
    return grant, rest
