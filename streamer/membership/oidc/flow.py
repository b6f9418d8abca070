"""The way to a provider and back. What has to be the same at the end as at the beginning (state, nonce, PKCE's verifier) waits in a sealed cookie of the
browser that set out, so nobody comes back who did not leave, and nobody twice.
"""

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

import structlog
from redis.exceptions import RedisError

from streamer import sealing
from streamer.errors import NotFound, Unauthenticated, Unavailable
from streamer.membership.oidc import provider as providers
from streamer.membership.oidc import tokens
from streamer.membership.oidc.tokens import Unbelievable
from streamer.sections import Provider
from streamer.services import Services

GOOD_S = 600
"""Seconds that somebody may take at the provider."""
_PURPOSE = "oidc"

log = structlog.get_logger(__name__)


class NotBelieved(Unauthenticated):
    """What came back from the provider opens nothing."""

    default_code, title = "provider_not_believed", "Signing in did not work"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says somebody is. `second_factor`: in a way that counts here as one."""

    subject: str
    email: str
    email_verified: bool
    name: str
    second_factor: bool
    claims: Mapping[str, Any]


def named(services: Services, name: str) -> Provider:
    """The provider of the configuration, or NotFound."""
    for one in services.config.accounts.providers:
        if one.name == name:
            return one
    raise NotFound("There is no such way to sign in.")


def begin(services: Services, provider: Provider, redirect_uri: str, following: str) -> tuple[str, str]:
    """Where to send the browser, and the cookie to give it."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    waiting = {"provider": provider.name, "state": state, "nonce": nonce, "verifier": verifier}
    kept = json.dumps({**waiting, "next": following, "until": int(time.time()) + GOOD_S})
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(provider.scopes),
        "state": state,
        "nonce": nonce,
        "code_challenge": _b64(hashlib.sha256(verifier.encode()).digest()),
        "code_challenge_method": "S256",
    }
    place = providers.known(provider).authorization
    url = f"{place}{'&' if '?' in place else '?'}{urlencode(asked)}"
    return url, sealing.seal(services.secrets, _PURPOSE, provider.name, kept)


def finish(
    services: Services, provider: Provider, redirect_uri: str, cookie: str, answer: Mapping[str, str]
) -> tuple[Identity, str]:
    """Who came back, and where they wanted to go. NotBelieved for everything else than our own question's answer, once."""
    waiting = _waiting(services, provider, cookie, answer.get("state", ""))
    if error := answer.get("error"):
        raise _refusal(provider, f"the provider said {error[:60]!r}")
    if answer.get("iss", provider.issuer) != provider.issuer:  # RFC 9207: another provider's answer, mixed up
        raise _refusal(provider, "the answer is another provider's")
    _use_once(services, waiting["state"])
    told = providers.redeem(
        provider,
        {
            "grant_type": "authorization_code",
            "code": answer.get("code", ""),
            "redirect_uri": redirect_uri,
            "code_verifier": waiting["verifier"],
        },
    )
    token = told.get("id_token")
    if not isinstance(token, str):
        raise _refusal(provider, f"the code was not taken: {str(told.get('error', ''))[:60]}")
    try:
        claims = tokens.claims(token, partial(providers.keys, provider), provider, waiting["nonce"])
    except Unbelievable as why:
        raise _refusal(provider, f"its token proves nothing: {why}") from why
    return _identity(provider, claims, _profile(provider, claims, told)), waiting["next"]


def _waiting(services: Services, provider: Provider, cookie: str, state: str) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(sealing.unseal(services.secrets, _PURPOSE, provider.name, cookie))
    except sealing.Unreadable:
        raise _refusal(provider, "this browser did not ask for it") from None
    if not hmac.compare_digest(kept["state"].encode(), state.encode()):
        raise _refusal(provider, "the answer belongs to another question")
    if time.time() > kept["until"]:
        raise _refusal(provider, "it took too long")
    return kept


def _use_once(services: Services, state: str) -> None:
    """A provider should take each code once; we don't rely on it."""
    key = f"oidc:{hashlib.sha256(state.encode()).hexdigest()}"
    try:
        if not services.kv_sync.set(key, "1", nx=True, ex=GOOD_S + 60):
            raise NotBelieved("This answer was used already. Sign in again.")
    except RedisError as error:
        raise Unavailable("Sign-in is not available at the moment.") from error


def _profile(provider: Provider, claims: Mapping[str, Any], redeemed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the address is told, with whether it is proved: in the token itself, else at the userinfo endpoint, if that speaks of the same person."""
    if claims.get("email"):
        return claims
    told = providers.userinfo(provider, redeemed.get("access_token"))
    if told and told.get("sub") != claims["sub"]:
        raise _refusal(provider, "it tells of somebody else than its token")
    return told


def _identity(provider: Provider, claims: Mapping[str, Any], profile: Mapping[str, Any]) -> Identity:
    """Nothing but address and name is taken from the profile: it is not signed for this sign-in."""
    email, verified = profile.get("email"), profile.get("email_verified")
    ways = claims.get("amr") if isinstance(claims.get("amr"), list) else []
    return Identity(
        subject=claims["sub"],
        email=email if isinstance(email, str) else "",
        email_verified=verified is True or verified == "true",  # some write it as text
        name=str(claims.get("name") or profile.get("name") or email or provider.shown)[:200],
        second_factor=bool({claims.get("acr"), *map(str, ways or [])} & set(provider.second_factor)),
        claims=claims,
    )


def _refusal(provider: Provider, why: str) -> NotBelieved:
    log.warning("sign-in by a provider refused", provider=provider.name, reason=why)
    return NotBelieved(f"{provider.shown}: {why}. Sign in again.")


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
