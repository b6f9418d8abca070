"""Time-based one-time codes (RFC 6238): six digits from a shared secret and the half minute it is. Pure; SHA-1, which is what every app speaks."""

import base64
import hmac
import secrets
from urllib.parse import quote, urlencode

STEP_S = 30
DIGITS = 6
_DRIFT = 1  # steps a telephone's clock may be off
_SECRET_BYTES = 20  # as long as the hash (RFC 4226, 4)


def new_secret() -> str:
    """160 random bits in base32, as apps take them."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def code(secret: str, step: int) -> str:
    """The code of one half minute (RFC 4226, 5.3)."""
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8), "sha1")
    at = digest[-1] & 0x0F
    number = int.from_bytes(digest[at : at + 4]) & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def matching_step(secret: str, given: str, now_s: float, after: int) -> int | None:
    """The half minute that a code is of, if it is about now and later than `after`: a code that was used is not used again."""
    wanted = given.encode()
    here = int(now_s) // STEP_S
    for step in range(here - _DRIFT, here + _DRIFT + 1):
        if hmac.compare_digest(code(secret, step).encode(), wanted) and step > after:
            return step
    return None


def uri(secret: str, account: str, issuer: str = "Streamer") -> str:
    """What an app reads from a QR code (Google Authenticator's Key URI format)."""
    label = quote(f"{issuer}:{account}", safe="@:")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer})}"
