"""Prefixed, time-ordered ids: `ast_` and twenty characters of `[0-9a-z]`.

Nine characters are the millisecond since 1970 (enough until the year 5188), eleven are random (57 bits), so rows made
one after another lie side by side in an index and an id says nothing that its creation time doesn't.
"""

import re
import secrets
import time

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TIME, _RANDOM = 9, 11
PATTERN = "^[a-z]{1,11}_[0-9a-z]{20}$"
"""What an id looks like, for descriptions."""
LENGTH = 32
"""Width of an id column in characters: prefix, underscore, twenty characters."""

_SHAPE = re.compile(PATTERN)


def new(prefix: str) -> str:
    """A new id such as `ast_0m7x…`; `prefix` is the noun's three letters."""
    now = time.time_ns() // 1_000_000
    return f"{prefix}_{_base36(now, _TIME)}{_base36(secrets.randbelow(36**_RANDOM), _RANDOM)}"


def is_id(text: str) -> bool:
    """Whether text from outside can be an id at all. MariaDB answers an error, not nothing, when an id column meets other alphabets."""
    return _SHAPE.fullmatch(text) is not None


def _base36(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
