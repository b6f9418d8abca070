"""Personal values in the audit log, kept so that they can be erased and the chain of hashes still holds.

What is hashed of such a value is a commitment: SHA-256 over a random salt, a line feed and the value. Salt and value stand beside it (`Kept`). Without
the salt nobody finds the value by trying all e-mail addresses there are; with it everybody can check that it is what was written. Pure.
"""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

NAMES = frozenset({"email", "name", "title", "filename"})
"""Which facts are personal, in entries that are about a person."""
ADDRESS = "address"

Kept = dict[str, list[str] | None]
"""Salt and value by place (`address`, `before.email`); None for what was erased."""


def commit(kept: Kept, place: str, value: str) -> str:
    """Put the value aside; what stands in its place."""
    salt = secrets.token_hex(16)
    kept[place] = [salt, value]
    return digest(salt, value)


def conceal(kept: Kept, side: str, facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The facts with commitments in place of what is personal; `side` is before or after."""
    if facts is None:
        return None
    return {
        name: commit(kept, f"{side}.{name}", value) if name in NAMES and isinstance(value, str) else value
        for name, value in facts.items()
    }


def reveal(kept: Kept, side: str, facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The facts as they were; commitments where they were erased."""
    if facts is None:
        return None
    return {name: value_of(kept, f"{side}.{name}", value) for name, value in facts.items()}


def value_of(kept: Kept, place: str, hashed: Any) -> Any:
    """What stands behind the commitment, or itself."""
    pair = kept.get(place)
    return pair[1] if pair else hashed


def salts(kept: Kept) -> dict[str, str | None]:
    """What whoever checks the chain needs of it."""
    return {place: pair[0] if pair else None for place, pair in kept.items()}


def is_genuine(kept: Kept, place: str, hashed: Any) -> bool:
    """Whether what was put aside is what was committed to, or was erased."""
    pair = kept.get(place)
    return pair is None or digest(*pair) == hashed


def digest(salt: str, value: str) -> str:
    """The commitment."""
    return hashlib.sha256(f"{salt}\n{value}".encode()).hexdigest()
