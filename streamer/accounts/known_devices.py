"""Browsers in which somebody signed in before: a cookie that opens nothing, but gives its owner's tries a count of their own.

So whoever guesses at an account, from wherever, keeps only strangers out of it (OWASP calls these device cookies). The cookie holds a mark
`<account>~<device>~<signature>` for each of the last accounts that were opened with this browser, where the account is a hash of its address: no
table is needed, and none can be filled. A stolen mark is worth one more count of tries.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode

from streamer.keyring import Secrets

KEEP_S = 400 * 86400  # as long as browsers keep any cookie
_MOST = 5  # accounts of people who share a browser


def account_of(email: str) -> str:
    """An address as counts and marks name it."""
    return hashlib.sha256(email.strip().casefold().encode()).hexdigest()[:32]


def find(keys: Secrets, cookie: str, email: str) -> str | None:
    """The device's name, if the browser with this cookie has opened this account before."""
    return _good(keys, cookie).get(account_of(email))


def any_account(keys: Secrets, cookie: str) -> str | None:
    """An account that this browser has opened before, the last one first."""
    return next(iter(_good(keys, cookie)), None)


def remember(keys: Secrets, cookie: str, email: str) -> str:
    """The cookie's new value, now that the browser has opened this account."""
    account, known = account_of(email), _good(keys, cookie)
    newest = {account: known.get(account) or secrets.token_hex(12)}
    marks = [(name, device) for name, device in (newest | known).items()][:_MOST]
    return ".".join(f"{name}~{device}~{_sign(keys, name, device)}" for name, device in marks)


def _good(keys: Secrets, cookie: str) -> dict[str, str]:
    """Devices by account, those that we have signed."""
    found = {}
    for mark in cookie.split(".", _MOST)[:_MOST]:
        account, device, signature = (mark.split("~") + ["", ""])[:3]
        if hmac.compare_digest(signature.encode(), _sign(keys, account, device).encode()):
            found[account] = device
    return found


def _sign(keys: Secrets, account: str, device: str) -> str:
    digest = hmac.digest(keys.session, f"known-device\n{account}\n{device}".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
