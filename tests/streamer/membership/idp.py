"""An identity provider that does what a test wants: honest by itself, and able to lie in each way that a client has to notice.

It signs with `cryptography` alone, so that nothing of the library under test vouches for itself.
"""

import hashlib
import hmac
import json
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.streamer.running import running

CLIENT, SECRET = "streamer", "s3cret:with/odd characters"


class SigningKey:
    """An RSA key with its id."""

    def __init__(self) -> None:
        self.kid = secrets.token_hex(4)
        self.private = rsa.generate_private_key(65537, 2048)

    @property
    def public(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        n, e = (b64(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e}

    @property
    def pem(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, form)

    def sign(self, text: bytes) -> bytes:
        return self.private.sign(text, padding.PKCS1v15(), hashes.SHA256())


@dataclass
class Idp:
    """`claims` go over those of an honest token; `forge(idp, claims)` makes another token altogether. With a `profile` there is a userinfo endpoint."""

    url: str = ""
    key: SigningKey = field(default_factory=SigningKey)
    claims: dict[str, Any] = field(default_factory=dict)
    forge: Callable[["Idp", dict[str, Any]], str] | None = None
    described_as: str = ""
    takes_codes_again: bool = False
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key_reads: int = 0
    profile: dict[str, Any] | Response | None = None
    profile_at: str = ""
    profile_reads: int = 0
    wrong_requests: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.describe),
                Route("/keys", self.keys),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/userinfo", self.userinfo),
            ]
        )

    async def describe(self, request: Request) -> Response:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        described = {name: f"{self.url}/{path}" for name, path in places.items()}
        if self.profile is not None:
            described["userinfo_endpoint"] = self.profile_at or f"{self.url}/userinfo"
        return JSONResponse({"issuer": self.described_as or self.url, **described})

    async def keys(self, request: Request) -> Response:
        self.key_reads += 1
        return JSONResponse({"keys": [{"kty": "unheard-of"}, self.key.public]})

    async def userinfo(self, request: Request) -> Response:
        self.profile_reads += 1
        if request.headers.get("authorization") != "Bearer a":
            return JSONResponse({"error": "invalid_token"}, 401)
        return self.profile if isinstance(self.profile, Response) else JSONResponse(self.profile)

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.url}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 303)

    async def token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        asked = self.codes.get(form["code"])
        if asked is None or (fault := self._fault(request, form, asked)):
            self.wrong_requests.append("code" if asked is None else fault)
            return JSONResponse({"error": "invalid_grant"}, 400)
        if not self.takes_codes_again:
            del self.codes[form["code"]]
        return JSONResponse({"token_type": "Bearer", "access_token": "a", "id_token": self._id_token(asked)})

    def _fault(self, request: Request, form: dict[str, str], asked: dict[str, str]) -> str:
        challenge = b64(hashlib.sha256(form["code_verifier"].encode()).digest())
        given = b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        if challenge != asked["code_challenge"] or asked["code_challenge_method"] != "S256":
            return "verifier"
        if form["redirect_uri"] != asked["redirect_uri"]:
            return "redirect_uri"
        return "" if given == "streamer:s3cret%3Awith%2Fodd%20characters" else "client"

    def _id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        honest = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        person = {"sub": "eve-at-idp", "email": "eve@example.org", "email_verified": True, "name": "Eve"}
        claims = {name: value for name, value in {**honest, **person, **self.claims}.items() if value is not None}
        return self.forge(self, claims) if self.forge else signed(self, claims)


def signed(idp: Idp, claims: dict[str, Any], key: SigningKey | None = None) -> str:
    """As it should be; with another key, as somebody else would."""
    text = _text({"alg": "RS256", "kid": idp.key.kid}, claims)
    return f"{text}.{b64((key or idp.key).sign(text.encode()))}"


def unsigned(idp: Idp, claims: dict[str, Any]) -> str:
    return _text({"alg": "none"}, claims) + "."


def signed_with_the_public_key(idp: Idp, claims: dict[str, Any]) -> str:
    """HS256, where the secret is what everybody may know."""
    text = _text({"alg": "HS256", "kid": idp.key.kid}, claims)
    return f"{text}.{b64(hmac.digest(idp.key.pem, text.encode(), 'sha256'))}"


def signed_by_somebody_else(idp: Idp, claims: dict[str, Any]) -> str:
    return signed(idp, claims, SigningKey())


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _text(header: dict[str, str], claims: dict[str, Any]) -> str:
    return ".".join(b64(json.dumps(part).encode()) for part in (header, claims))


@contextmanager
def provider() -> Iterator[Idp]:
    """One that runs while the block lasts."""
    idp = Idp()
    with running(idp.app()) as url:
        idp.url = url
        yield idp
