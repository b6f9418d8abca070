"""Passwords that other systems hashed open the door once more, and are argon2id from then on."""

import hashlib

import bcrypt
import pytest

from streamer import db
from streamer.accounts import legacy_hashes, users
from tests.streamer.accounts.conftest import Site

PASSWORD = "pässword of before"
MD5 = "md5$s4lt$" + hashlib.md5(f"s4lt{PASSWORD}".encode()).hexdigest()
SHA1 = "sha1$s4lt$" + hashlib.sha1(f"s4lt{PASSWORD}".encode()).hexdigest()
BCRYPT = bcrypt.hashpw(PASSWORD.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()
ALL = [
    MD5,
    SHA1,
    SHA1.upper().replace("SHA1$S4LT", "sha1$s4lt"),
    BCRYPT,
    f"bcrypt${BCRYPT}",
    BCRYPT.replace("$2b$", "$2y$"),
]


@pytest.mark.parametrize("stored", ALL)
def test_the_right_password_is_right_and_no_other(stored: str) -> None:
    assert legacy_hashes.is_one(stored)
    assert legacy_hashes.verify(stored, PASSWORD) and not legacy_hashes.verify(stored, PASSWORD + "x")


def test_a_hash_from_the_outside_is_verified() -> None:
    """Of the tests of crypt_blowfish."""
    stored = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    assert legacy_hashes.verify(stored, "U*U") and not legacy_hashes.verify(stored, "U*V")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "md5$$" + "0" * 32,
        "md5$s$" + "0" * 40,
        "sha1$s$" + "0" * 32,
        "sha256$s$" + "0" * 64,
        "plain$x",
        "$2b$99$" + "a" * 53,
        "$argon2id$v=19$m=64,t=1,p=1$x$y",
    ],
)
def test_nothing_else_is_ever_right(stored: str) -> None:
    assert not legacy_hashes.verify(stored, PASSWORD)


@pytest.mark.parametrize("stored", [MD5, SHA1, BCRYPT])
def test_signing_in_replaces_the_hash(site: Site, stored: str) -> None:
    with db.session(site.services) as s:
        users.add(s, email="old@example.org", name="Old", role="viewer", password_hash=stored)
    credentials = {"email": "old@example.org", "password": PASSWORD}
    assert site.browser().post("/api/v1/session", json={**credentials, "password": "wrong"}).status_code == 401
    with db.reading(site.services) as s:
        assert users.find(s, "old@example.org").password_hash == stored
    assert site.browser().post("/api/v1/session", json=credentials).status_code == 201
    with db.reading(site.services) as s:
        assert users.find(s, "old@example.org").password_hash.startswith("$argon2id$")
    assert site.browser().post("/api/v1/session", json=credentials).status_code == 201


def test_an_argon2_hash_of_other_costs_is_renewed_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = site.services.config.accounts.model_copy(update={"argon2_time": 2})
    monkeypatch.setitem(site.services.config.__dict__, "accounts", accounts)
    site.signed_in("eve@example.org")
    with db.reading(site.services) as s:
        assert ",t=2," in users.find(s, "eve@example.org").password_hash
