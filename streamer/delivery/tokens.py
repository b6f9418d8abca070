"""Playback tokens: `/p/<kid>~<exp>~<cap>~<sid>~<sig>/<asset>/<version>/…`, a signed prefix written into the path.

Every URI in our playlists is relative, so any player carries the token along unchanged, and what follows it is the object's key, so any
edge can check it offline and drop it from its cache key. `sig` is HMAC-SHA256, all 32 bytes in base64url without padding, over the
newline-delimited fields `v1, kid, exp, cap, sid, /<asset>/<version>/`. No field can hold a newline and there are always exactly two path
segments, so no two sets of fields share a message (two CDN vendors sign path and expiry without a delimiter: `/v/11` opens `/v/1`).

The algorithm belongs to the key; nothing in the token chooses it. Signatures are compared as text, because the last of 43 characters has
two spare bits that a decoder would forgive. Only genuine tokens are told why they fail: `expired` and `rung` are said after the signature.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Keys = Mapping[str, bytes]

LARGEST_CAP = 9999
STILLS_ONLY = 0

_NAME = r"[a-z0-9_-]{1,64}"
_FIELDS = re.compile(
    rf"(?P<kid>{_NAME})~(?P<exp>[0-9]{{10}})~(?P<cap>[0-9]{{4}})~(?P<sid>{_NAME})~(?P<sig>[A-Za-z0-9_-]{{43}})/(?P<asset>{_NAME})/(?P<version>{_NAME})"
)
_PREFIX = re.compile(rf"/{_NAME}/{_NAME}/")
# An allow-list: `%`, `\`, NUL, `~`, empty and dot segments have no way to be written. The folder that names a rung has no capitals, since some
# file systems would open `V1080` as `v1080`.
_PATH = re.compile(rf"/p/([^/]+/{_NAME}/{_NAME})/([a-z0-9_-][a-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)")
_RUNG = re.compile(r"v([0-9]+)")
_LONGEST_PATH = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds by which clocks may differ, and seconds that a token may live."""

    skew_s: int = 60
    longest_s: int = 24 * 3600


LIMITS = Limits()


class Reason(StrEnum):
    """Why a request is refused. The first three are one and the same to a caller: this token opens nothing."""

    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    TAMPERED = "tampered"
    EXPIRED = "expired"
    TOO_FAR = "too_far"
    RUNG = "rung"


class TokenRefused(Exception):
    """The path does not open what it names."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Grant:
    """What a genuine ticket allows: everything under `/<asset>/<version>/` up to `cap` pixels of short side, until `exp` (Unix seconds)."""

    kid: str
    exp: int
    cap: int
    sid: str
    asset: str
    version: str

    @property
    def prefix(self) -> str:
        return f"{self.asset}/{self.version}/"


def sign(keys: Keys, prefix: str, *, kid: str, exp: int, cap: int, sid: str) -> str:
    """The token for `prefix`, always `/<asset>/<version>/`. ValueError if a field could not be read back."""
    message = _message(kid, f"{exp:010d}", f"{cap:04d}", sid, prefix)
    token = f"{kid}~{exp:010d}~{cap:04d}~{sid}~{_signature(keys[kid], message)}"
    if not _PREFIX.fullmatch(prefix) or not _FIELDS.fullmatch(token + prefix[:-1]):
        raise ValueError(f"fields outside the token's grammar: {kid!r} {exp!r} {cap!r} {sid!r} {prefix!r}")
    return token


def split(path: str) -> tuple[str, str]:
    """`<token>/<asset>/<version>` and the name that follows, from the path that is served, which holds no escapes."""
    match = _PATH.fullmatch(path)
    if match is None or len(path) > _LONGEST_PATH:
        raise TokenRefused(Reason.MALFORMED)
    return match[1], match[2]


def admit(keys: Keys, ticket: str) -> Grant:
    """Check the signature alone: the answer holds for ever, so it may be remembered; `check_time` and `check_rung` follow on every use."""
    fields = _FIELDS.fullmatch(ticket)
    if fields is None:
        raise TokenRefused(Reason.MALFORMED)
    kid, exp, cap, sid, sig, asset, version = fields.groups()
    key = keys.get(kid)
    if key is None:
        raise TokenRefused(Reason.UNKNOWN_KEY)
    if not hmac.compare_digest(sig, _signature(key, _message(kid, exp, cap, sid, f"/{asset}/{version}/"))):
        raise TokenRefused(Reason.TAMPERED)
    return Grant(kid, int(exp), int(cap), sid, asset, version)


def check_time(grant: Grant, now: float, limits: Limits = LIMITS) -> None:
    """A signer never looks further than a day ahead, so a token that does was not made by a sound one."""
    if now > grant.exp + limits.skew_s:
        raise TokenRefused(Reason.EXPIRED)
    if now < grant.exp - limits.longest_s - limits.skew_s:
        raise TokenRefused(Reason.TOO_FAR)


def check_rung(grant: Grant, rest: str) -> None:
    """The same answer for the same path, so it may be remembered."""
    if not within_cap(rest, grant.cap):
        raise TokenRefused(Reason.RUNG)


def within_cap(rest: str, cap: int) -> bool:
    """Renditions live under `v<short side>…/`. A cap of 0000 opens stills alone, so that a poster's address is no way to a film's sound."""
    if cap == STILLS_ONLY:
        return rest.endswith(".jpg") and "/" not in rest
    rung = _RUNG.match(rest)
    return rung is None or int(rung[1]) <= cap


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _message(kid: str, exp: str, cap: str, sid: str, prefix: str) -> bytes:
    return f"v1\n{kid}\n{exp}\n{cap}\n{sid}\n{prefix}".encode()


def _signature(key: bytes, message: bytes) -> str:
    return urlsafe_b64encode(mac(key, message))[:-1].decode()
