"""Secrets of others that have to be read again, such as those webhooks are signed with: AES-256-GCM at rest.

The key comes from the server's own secret, one per purpose. A sealed text opens only for the row it was sealed for. Whoever changes
`accounts.session_secret` can't open what was sealed before.
"""

import base64
import binascii
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streamer.keyring import Secrets

_NONCE = 12


class Unreadable(Exception):
    """It was sealed with another key, for another row, or altered."""


def seal(secrets: Secrets, purpose: str, row_id: str, text: str) -> str:
    """`text` as base64 that only `unseal` with the same arguments opens."""
    nonce = os.urandom(_NONCE)
    return base64.b64encode(nonce + _cipher(secrets, purpose).encrypt(nonce, text.encode(), row_id.encode())).decode()


def unseal(secrets: Secrets, purpose: str, row_id: str, sealed: str) -> str:
    """What was sealed, or Unreadable."""
    try:
        raw = base64.b64decode(sealed, validate=True)
        return _cipher(secrets, purpose).decrypt(raw[:_NONCE], raw[_NONCE:], row_id.encode()).decode()
    except (binascii.Error, InvalidTag, ValueError) as error:
        raise Unreadable(purpose) from error


def _cipher(secrets: Secrets, purpose: str) -> AESGCM:
    return AESGCM(hmac.digest(secrets.session, f"sealing\n{purpose}".encode(), "sha256"))
