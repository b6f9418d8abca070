"""ID tokens: believed only when the provider signed them, for us, for this very sign-in, just now.

Algorithms are those with a public key: `none` is no signature, and with HS256 whoever knows a public key could sign.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamer.sections import Provider

if TYPE_CHECKING:
    from joserfc import jwt
    from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
SKEW_S = 60
"""Seconds by which clocks may differ."""

Keys = Callable[..., "KeySet"]
"""`keys(again=…)`."""


class Unbelievable(Exception):
    """The token proves nothing; the text says why."""


def claims(token: str, keys: Keys, provider: Provider, nonce: str) -> dict[str, Any]:
    """What it says, or Unbelievable."""
    from joserfc.errors import JoseError  # here, because web processes without a provider never need it

    try:
        decoded = _decoded(token, keys)
        _rules(provider, nonce).validate(decoded.claims)
    except (JoseError, ValueError, TypeError) as error:
        raise Unbelievable(str(error)) from error
    told: dict[str, Any] = decoded.claims
    party = told.get("azp")
    if party not in (None, provider.client_id) or (party is None and len(_list(told["aud"])) > 1):
        raise Unbelievable("it was made for another client")
    return told


def _decoded(token: str, keys: Keys) -> "jwt.Token":
    from joserfc import jwt
    from joserfc.errors import InvalidKeyIdError

    try:
        return jwt.decode(token, keys(), ALGORITHMS)
    except InvalidKeyIdError:
        return jwt.decode(token, keys(again=True), ALGORITHMS)


def _rules(provider: Provider, nonce: str) -> "jwt.JWTClaimsRegistry":
    from joserfc import jwt

    return jwt.JWTClaimsRegistry(
        leeway=SKEW_S,
        iss={"essential": True, "value": provider.issuer},
        aud={"essential": True, "value": provider.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": nonce},
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
