"""What a provider says of itself: where to send people, where to redeem codes, which keys it signs with. Asked by `outbound`, kept for an hour.

A token signed with a key that we don't know has the keys read again, at most once a minute, so that providers may change them at any time and nobody
can make us ask all day.
"""

import http.client
import json
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import structlog

from streamer import outbound
from streamer.config import Outbound
from streamer.errors import Unavailable
from streamer.sections import Provider

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

_KEPT_S, _KEYS_AGAIN_S = 3600, 60
_TIMEOUT_S = 10.0
_LARGEST = 1 << 20
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")

log = structlog.get_logger(__name__)


@dataclass
class Known:
    """A provider as it described itself at a time."""

    authorization: str
    token: str
    jwks: str
    userinfo: str
    posts_secret: bool
    read_at: float
    keys: "KeySet | None" = None
    keys_at: float = 0.0


_known: dict[tuple[str, str], Known] = {}
_lock = Lock()


def known(provider: Provider) -> Known:
    """Its description, read again after an hour. Unavailable when it doesn't answer, or is not what the configuration says."""
    place = provider.issuer, provider.client_id
    with _lock:
        found = _known.get(place)
    if found is None or time.monotonic() - found.read_at > _KEPT_S:
        found = _described(provider)
        with _lock:
            _known[place] = found
    return found


def keys(provider: Provider, *, again: bool = False) -> "KeySet":
    """The keys it signs with; `again` when one is missing among them."""
    described = known(provider)
    age_s = time.monotonic() - described.keys_at
    if described.keys is None or age_s > _KEPT_S or (again and age_s > _KEYS_AGAIN_S):
        described.keys, described.keys_at = _key_set(provider, described.jwks), time.monotonic()
    return described.keys


def redeem(provider: Provider, form: Mapping[str, str]) -> dict[str, Any]:
    """What the token endpoint answers; a refusal of its own is an answer with `error`."""
    described = known(provider)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    fields = {**form, "client_id": provider.client_id}
    if provider.client_secret and described.posts_secret:
        fields["client_secret"] = provider.client_secret
    elif provider.client_secret:
        pair = f"{quote(provider.client_id, safe='')}:{quote(provider.client_secret, safe='')}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return _ask(provider, described.token, headers, urlencode(fields))


def userinfo(provider: Provider, access_token: object) -> dict[str, Any]:
    """What it tells of whoever the token is for, which is nobody's word for who they are (OpenID Connect Core 5.3); nothing if it tells it nowhere."""
    described = known(provider)
    if not described.userinfo or not isinstance(access_token, str):
        return {}
    return _ask(provider, described.userinfo, {"Authorization": f"Bearer {access_token}"})


def _described(provider: Provider) -> Known:
    told = _ask(provider, provider.issuer.rstrip("/") + "/.well-known/openid-configuration")
    if told.get("issuer") != provider.issuer:
        raise _unusable(provider, "it calls itself by another name than accounts.providers does")
    try:
        authorization, token, jwks = (str(told[name]) for name in _ENDPOINTS)
        outbound.check(authorization, _rules(provider))  # where browsers are sent
    except (KeyError, outbound.Refused):
        raise _unusable(provider, "its description names no usable endpoints") from None
    methods = told.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    userinfo = str(told.get("userinfo_endpoint") or "")
    return Known(authorization, token, jwks, userinfo, "client_secret_basic" not in methods, time.monotonic())


def _key_set(provider: Provider, url: str) -> "KeySet":
    """Keys to verify with alone: a secret that somebody put there by mistake must not verify anything."""
    from joserfc.jwk import KeySet  # here, because web processes without a provider never need it

    told = _ask(provider, url)
    try:
        public = [key for key in told["keys"] if key.get("kty") in ("RSA", "EC", "OKP") and key.get("use") != "enc"]
        return KeySet.import_key_set({"keys": public})
    except Exception as error:  # whatever a stranger's JSON makes of a library
        raise _unusable(provider, "its keys can't be read") from error


def _ask(
    provider: Provider, url: str, headers: Mapping[str, str] | None = None, form: str | None = None
) -> dict[str, Any]:
    try:
        with outbound.connection(url, _rules(provider), timeout_s=_TIMEOUT_S) as client:
            accepting = {"Accept": "application/json", "Connection": "close", **(headers or {})}
            client.request("GET" if form is None else "POST", outbound.target(url), form, accepting)
            response = client.getresponse()
            told = json.loads(response.read(_LARGEST))
    except (outbound.Refused, OSError, http.client.HTTPException, ValueError) as error:
        raise _unusable(provider, str(error) or type(error).__name__) from error
    if not isinstance(told, dict) or (form is None and response.status != 200):
        raise _unusable(provider, f"it answered {response.status}")
    return told


def _rules(provider: Provider) -> Outbound:
    return Outbound(allow_http=provider.private, allow_private=provider.private)


def _unusable(provider: Provider, why: str) -> Unavailable:
    log.warning("identity provider can't be used", provider=provider.name, reason=why)
    return Unavailable(f"{provider.shown} can't be asked at the moment. Sign in another way, or try again soon.")
