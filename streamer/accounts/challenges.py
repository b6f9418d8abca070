"""Between a right password and a right code there is no session, only this: a signed note that the password was right, good for minutes and for one session.

`<user id>~<expiry>~<nonce and signature>`. The signature covers the password's hash, so a password that changes meanwhile ends it.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode

from streamer.accounts.tables import User
from streamer.keyring import Secrets
from streamer.services import Services

_GOOD_S = 600
_NONCE = 16  # characters; no two challenges are the same


def make(keys: Secrets, user: User) -> str:
    """The note for somebody whose password was right just now."""
    expires_at, nonce = int(time.time()) + _GOOD_S, secrets.token_hex(_NONCE // 2)
    return f"{user.id}~{expires_at}~{nonce}{_sign(keys, user, expires_at, nonce)}"


def owner_id(challenge: str) -> str:
    """Whose note it claims to be; it proves nothing before `is_good`."""
    return challenge.partition("~")[0][:64]


def is_good(keys: Secrets, challenge: str, user: User) -> bool:
    """Whether we made it for this account, and lately."""
    _, expiry, signature = (challenge.split("~") + ["", ""])[:3]
    if not (expiry.isascii() and expiry.isdigit() and len(expiry) < 12):
        return False
    nonce, given = signature[:_NONCE], signature[_NONCE:]
    right = hmac.compare_digest(given.encode(), _sign(keys, user, int(expiry), nonce).encode())
    return right and time.time() < int(expiry)


def spend(services: Services, challenge: str) -> bool:
    """Use it up; False when it was: it opens one session."""
    digest = hashlib.sha256(challenge.encode()).hexdigest()
    return bool(services.kv_sync.set(f"challenge:{digest}", "spent", nx=True, ex=_GOOD_S))


def _sign(keys: Secrets, user: User, expires_at: int, nonce: str) -> str:
    fields = f"second-factor\n{user.id}\n{expires_at}\n{nonce}\n{user.password_hash}"
    return urlsafe_b64encode(hmac.digest(keys.session, fields.encode(), "sha256")).rstrip(b"=").decode()
