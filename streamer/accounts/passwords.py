"""Argon2id. A hash takes 64 MiB and a tenth of a second by default, so only a few run at once in a process."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from streamer.config import Accounts
from streamer.errors import Invalid

_MAX_CHARS = 1024
_at_once = threading.BoundedSemaphore(4)  # a login flood waits here instead of taking all memory


def hash_password(config: Accounts, password: str) -> str:
    """The encoded hash, or Invalid for a password that is too short or absurdly long."""
    if not config.password_min_chars <= len(password) <= _MAX_CHARS:
        raise Invalid(
            f"A password has at least {config.password_min_chars} characters.",
            errors=[{"pointer": "/password", "detail": f"has {len(password)} characters"}],
        )
    with _at_once:
        return _hasher(config).hash(password)


def verify(config: Accounts, stored: str | None, password: str) -> bool:
    """Whether the password is right. Without a stored hash the same work is done, so that time tells no one who exists."""
    with _at_once:
        if stored is None or len(password) > _MAX_CHARS:
            _hasher(config).hash("nobody")
            return False
        try:
            return _hasher(config).verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


def _hasher(config: Accounts) -> PasswordHasher:
    return PasswordHasher(config.argon2_time, config.argon2_memory_kib, config.argon2_lanes)
