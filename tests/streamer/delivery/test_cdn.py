"""The addresses players are given."""

from __future__ import annotations

import time

import pytest

from streamer.config import Config, Delivery
from streamer.delivery import cdn, tokens
from streamer.keyring import Secrets
from tests.streamer.delivery.opening import opened

SECRETS = Secrets(playback={"k1": b"1" * 32, "k2": b"2" * 32}, playback_kid="k2", session=b"")
PATH = "ast_1/v1"


def config(**delivery: object) -> Config:
    return Config(delivery=Delivery.model_validate(delivery))


def manifest(**delivery: object) -> str:
    exp = int(time.time()) + 60
    return cdn.manifest_url(config(**delivery), SECRETS, PATH, sid="pbs_1", exp=exp, cap=720, here="http://here:1")


def test_the_newest_key_signs() -> None:
    grant, rest = opened(SECRETS.playback, manifest().removeprefix("http://here:1"), time.time())
    assert (grant.kid, grant.cap, grant.prefix, rest) == ("k2", 720, "ast_1/v1/", "master.m3u8")


def test_a_cdn_takes_the_place_of_this_server() -> None:
    assert manifest().startswith("http://here:1/p/")
    assert manifest(public_base_url="https://cdn.example/").startswith("https://cdn.example/p/")


def test_a_poster_without_a_cdn_is_relative_to_the_site() -> None:
    assert cdn.poster_url(config(), SECRETS, PATH).startswith("/p/")


def test_a_posters_address_stays_the_same_for_hours_and_never_outlives_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = 1_800_000_000 // 21600 * 21600
    seen = []
    for moment in (begin, begin + 21599, begin + 21600):
        monkeypatch.setattr(time, "time", lambda moment=moment: float(moment))
        address = cdn.poster_url(config(), SECRETS, PATH)
        grant, _ = opened(SECRETS.playback, address, moment)
        assert 6 * 3600 <= grant.exp - moment <= 12 * 3600
        assert grant.cap == tokens.STILLS_ONLY
        seen.append(address)
    assert seen[0] == seen[1] != seen[2]
