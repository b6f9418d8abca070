"""The playback token against forgers: vectors, every bit, every character, every way to write a path."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamer.delivery import tokens
from streamer.delivery.tokens import Reason, TokenRefused
from tests.streamer.delivery.opening import opened

NOW = 1_800_000_000
KEYS = {"k1": b"\x01" * 32, "k2": b"\x02" * 32}
PREFIX = "/ast_0a/5f3c9e/"
NAMES = st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True)


def token(*, exp: int = NOW + 3600, cap: int = 720, sid: str = "pbs_1", prefix: str = PREFIX, kid: str = "k1") -> str:
    return tokens.sign(KEYS, prefix, kid=kid, exp=exp, cap=cap, sid=sid)


def path(rest: str = "master.m3u8", **fields: object) -> str:
    return f"/p/{token(**fields)}{fields.get('prefix', PREFIX)}{rest}"  # type: ignore[arg-type]


def refusal(served: str, now: float = NOW) -> Reason:
    with pytest.raises(TokenRefused) as caught:
        opened(KEYS, served, now)
    return caught.value.reason


# RFC 4231 §4: HMAC-SHA-256 test cases 1 to 7 as (key, data, MAC); case 5 is truncated to 128 bits.
RFC_4231 = [
    ("0b" * 20, b"Hi There".hex(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe".hex(),
        b"what do ya want for nothing?".hex(),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    ("aa" * 20, "dd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)).hex(), "cd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    ("0c" * 20, b"Test With Truncation".hex(), "a3b6167473100ee06e0c796c2955552b"),
    (
        "aa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First".hex(),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        "aa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.".hex(),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]


@pytest.mark.parametrize(("key", "data", "expected"), RFC_4231)
def test_the_mac_gives_the_answers_of_rfc_4231(key: str, data: str, expected: str) -> None:
    assert tokens.mac(bytes.fromhex(key), bytes.fromhex(data)).hex().startswith(expected)


@pytest.mark.parametrize(("key", "data", "expected"), RFC_4231)
def test_a_modified_mac_of_rfc_4231_is_not_the_mac(key: str, data: str, expected: str) -> None:
    right = tokens.mac(bytes.fromhex(key), bytes.fromhex(data))
    for bit in range(256):
        assert not hmac.compare_digest(right, flipped(right, bit))


def test_a_token_opens_its_own_prefix_and_says_what_it_grants() -> None:
    grant, rest = opened(KEYS, path("v720-2000k/0000-a1/000001.m4s"), NOW)
    assert (grant.kid, grant.exp, grant.cap, grant.sid) == ("k1", NOW + 3600, 720, "pbs_1")
    assert (grant.prefix, rest) == ("ast_0a/5f3c9e/", "v720-2000k/0000-a1/000001.m4s")


def test_the_signed_message_is_the_newline_delimited_fields() -> None:
    message = f"v1\nk1\n{NOW + 3600}\n0720\npbs_1\n{PREFIX}".encode()
    assert token().rpartition("~")[2] == tokens._signature(KEYS["k1"], message)
    assert len(token().rpartition("~")[2]) == 43


def flipped(data: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8) if bit // 8 == place else byte for place, byte in enumerate(data))


def test_every_flipped_bit_of_token_and_prefix_is_refused() -> None:
    genuine = f"{token()}{PREFIX}".encode()
    for bit in range(len(genuine) * 8):
        refusal("/p/" + flipped(genuine, bit).decode("latin-1") + "master.m3u8")


def test_every_other_character_in_every_place_is_refused() -> None:
    genuine = f"{token()}{PREFIX}"
    alphabet = "ABCXYZabcxyz0189_-~/.%\\ \n\0="
    for place, right in enumerate(genuine):
        for wrong in alphabet:
            if wrong != right:
                refusal(f"/p/{genuine[:place]}{wrong}{genuine[place + 1 :]}master.m3u8")


def test_every_truncation_and_every_repeated_character_is_refused() -> None:
    genuine = token()
    for place in range(len(genuine)):
        refusal(f"/p/{genuine[:place]}{PREFIX}master.m3u8")
        refusal(f"/p/{genuine[:place]}{genuine[place:]}{genuine[place]}{PREFIX}master.m3u8")


def test_the_spare_bits_of_the_last_character_are_not_forgiven() -> None:
    genuine = token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for last in alphabet.replace(genuine[-1], ""):
        assert refusal(f"/p/{genuine[:-1]}{last}{PREFIX}master.m3u8") is Reason.TAMPERED


def test_a_token_expires_after_the_skew_and_not_before() -> None:
    served = path(exp=NOW)
    opened(KEYS, served, NOW + tokens.LIMITS.skew_s)
    assert refusal(served, NOW + tokens.LIMITS.skew_s + 1) is Reason.EXPIRED


def test_a_token_from_further_ahead_than_a_day_is_refused() -> None:
    opened(KEYS, path(exp=NOW + tokens.LIMITS.longest_s), NOW)
    assert refusal(path(exp=NOW + tokens.LIMITS.longest_s + tokens.LIMITS.skew_s + 1)) is Reason.TOO_FAR


def test_only_a_genuine_token_is_told_that_it_expired() -> None:
    served = path(exp=NOW - 3600)
    forged = served.replace("~0720~", "~1080~")
    assert (refusal(served), refusal(forged)) == (Reason.EXPIRED, Reason.TAMPERED)


def test_a_key_that_is_not_ours_is_refused() -> None:
    assert refusal(path().replace("/k1~", "/k3~")) is Reason.UNKNOWN_KEY


def test_another_key_of_ours_is_refused() -> None:
    assert refusal(path().replace("/k1~", "/k2~")) is Reason.TAMPERED


def test_a_token_for_one_asset_does_not_open_another_nor_another_version() -> None:
    assert refusal(f"/p/{token()}/ast_0b/5f3c9e/master.m3u8") is Reason.TAMPERED
    assert refusal(f"/p/{token()}/ast_0a/5f3c9f/master.m3u8") is Reason.TAMPERED
    assert refusal(f"/p/{token()}/ast_0a/5f3c9e1/master.m3u8") is Reason.TAMPERED


def test_a_rung_above_the_cap_is_refused_and_the_cap_itself_is_served() -> None:
    opened(KEYS, path("v720-3000k/vod.m3u8"), NOW)
    opened(KEYS, path("a1-128k/vod.m3u8"), NOW)
    for folder in ("v1080-6000k", "v721", "v01080-1k", "v10800"):
        assert refusal(path(f"{folder}/vod.m3u8")) is Reason.RUNG


def test_capitals_cannot_smuggle_a_rung_past_the_cap() -> None:
    assert refusal(path("V1080-6000k/vod.m3u8")) is Reason.MALFORMED


@pytest.mark.parametrize("rest", ["master.m3u8", "a1-128k/0000-x/000001.m4s", "v144-100k/vod.m3u8", "a1-48k/cover.jpg"])
def test_a_cap_of_zero_opens_stills_alone(rest: str) -> None:
    opened(KEYS, path("poster.jpg", cap=tokens.STILLS_ONLY), NOW)
    assert refusal(path(rest, cap=tokens.STILLS_ONLY)) is Reason.RUNG


@pytest.mark.parametrize(
    "rest",
    [
        "",
        ".",
        "..",
        "../",
        "../../ast_0b/5f3c9e/master.m3u8",
        "./master.m3u8",
        "v360-1k/../v1080-1k/vod.m3u8",
        "v360-1k/./vod.m3u8",
        "v360-1k//vod.m3u8",
        "/master.m3u8",
        "master.m3u8/",
        "%2e%2e/master.m3u8",
        "v360-1k%2fvod.m3u8",
        "master%00.m3u8",
        "master.m3u8\0.jpg",
        "master.m3u8\n",
        "v360-1k\\vod.m3u8",
        "..\\..\\secrets.json",
        ".hidden",
        "master.m3u8?x=1",
        "master.m3u8;x=1",
        "é.m3u8",
        "v１０８０-1k/vod.m3u8",
        "a" * 1024,
    ],
)
def test_a_path_that_is_not_written_plainly_is_refused(rest: str) -> None:
    assert refusal(path(rest)) is Reason.MALFORMED


def test_two_tokens_in_one_path_are_refused() -> None:
    first, second = token(), token(sid="pbs_2")
    assert refusal(f"/p/{first}/{second}{PREFIX}master.m3u8") is Reason.MALFORMED
    assert refusal(f"/p/{first}{PREFIX}p/{second}{PREFIX}master.m3u8") is Reason.MALFORMED
    assert refusal(f"/p/{first}~{second}{PREFIX}master.m3u8") is Reason.MALFORMED


@pytest.mark.parametrize(
    "served",
    ["", "/", "/p/", "/p//", f"/p{PREFIX}master.m3u8", f"{PREFIX}master.m3u8", f"/p/unsigned{PREFIX}master.m3u8"],
)
def test_a_path_without_a_token_is_refused(served: str) -> None:
    assert refusal(served) is Reason.MALFORMED


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp": 10**10},
        {"exp": -1},
        {"cap": 10_000},
        {"cap": -1},
        {"sid": ""},
        {"sid": "a\nb"},
        {"sid": "a~b"},
        {"sid": "Ä"},
        {"prefix": "/only/"},
        {"prefix": "/a/b/c/"},
        {"prefix": "/a/b"},
        {"prefix": "/a\n/b/"},
        {"prefix": "/a/../"},
    ],
)
def test_signing_refuses_fields_that_could_be_read_in_two_ways(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="grammar"):
        token(**wrong)  # type: ignore[arg-type]


FIELDS = st.tuples(NAMES, st.integers(0, 9_999_999_999), st.integers(0, 9999), NAMES, NAMES, NAMES)


def message(fields: tuple[str, int, int, str, str, str]) -> bytes:
    kid, exp, cap, sid, asset, version = fields
    return tokens._message(kid, f"{exp:010d}", f"{cap:04d}", sid, f"/{asset}/{version}/")


@given(FIELDS, FIELDS)
@example(("k", 1, 1, "s", "a", "b1"), ("k", 1, 1, "s", "a", "b"))
@example(("k", 1, 1, "s", "ab", "c"), ("k", 1, 1, "s", "a", "bc"))
@example(("k1", 1, 1, "s", "a", "b"), ("k", 1, 1, "1s", "a", "b"))
def test_distinct_fields_never_share_a_message(
    one: tuple[str, int, int, str, str, str], other: tuple[str, int, int, str, str, str]
) -> None:
    assert (one == other) == (message(one) == message(other))


@given(FIELDS)
def test_what_was_signed_reads_back_the_same(fields: tuple[str, int, int, str, str, str]) -> None:
    kid, exp, cap, sid, asset, version = fields
    signed = tokens.sign({kid: b"k" * 32}, f"/{asset}/{version}/", kid=kid, exp=exp, cap=cap, sid=sid)
    assert tokens.admit({kid: b"k" * 32}, f"{signed}/{asset}/{version}") == tokens.Grant(
        kid, exp, cap, sid, asset, version
    )


@given(st.text())
def test_no_text_at_all_raises_anything_but_a_refusal(served: str) -> None:
    refusal(served)
