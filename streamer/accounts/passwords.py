"""Argon2id. A hash takes 64 MiB and a tenth of a second by default, so only a few run at once in a process.

A login flood waits for its turn up to a point and is then refused, before it takes all memory or every thread.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from streamer.accounts import legacy_hashes
from streamer.config import Accounts
from streamer.errors import Invalid, Unavailable

NONE = "!"
"""In place of a hash: no password opens this account."""

_MAX_CHARS = 1024
_at_once = threading.BoundedSemaphore(4)
_in_line = threading.BoundedSemaphore(12)


def hash_password(config: Accounts, password: str, *, field: str = "password") -> str:
    """The encoded hash, or Invalid for a password that is too short or absurdly long; `field` is what the request calls it."""
    if not config.password_min_chars <= len(password) <= _MAX_CHARS:
        raise Invalid(
            f"A password has at least {config.password_min_chars} characters.",
            errors=[
                {
                    "pointer": f"/{field}",
                    "detail": f"has {len(password)} characters; {config.password_min_chars} to {_MAX_CHARS} are allowed",
                }
            ],
        )
    with _turn():
        return _hasher(config).hash(password)


def verify(config: Accounts, stored: str | None, password: str) -> bool:
    """Whether the password is right. Without a stored hash the same work is done, so that time tells no one who exists."""
    with _turn():
        if stored is None or stored == NONE or len(password) > _MAX_CHARS:
            _hasher(config).hash("nobody")
            return False
        if legacy_hashes.is_one(stored):
            right = legacy_hashes.verify(stored, password)
            if not right:
                _hasher(config).hash("nobody")
            return right
        try:
            return _hasher(config).verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(config: Accounts, stored: str) -> bool:
    """Whether a hash that was just verified should be replaced by a new one of the same password."""
    return legacy_hashes.is_one(stored) or _hasher(config).check_needs_rehash(stored)


def renew(config: Accounts, password: str) -> str:
    """The hash of a password that was right, however short people were allowed to choose it once."""
    with _turn():
        return _hasher(config).hash(password)


@contextmanager
def _turn() -> Iterator[None]:
    if not _in_line.acquire(blocking=False):
        raise Unavailable("Too many people sign in at this moment.", code="busy", retry_after_s=2)
    try:
        with _at_once:
            yield
    finally:
        _in_line.release()


def _hasher(config: Accounts) -> PasswordHasher:
    return PasswordHasher(config.argon2_time, config.argon2_memory_kib, config.argon2_lanes)
