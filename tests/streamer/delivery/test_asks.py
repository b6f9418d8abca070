"""What is remembered of requests, and that remembering changes no answer."""

from __future__ import annotations

import pytest

from streamer.delivery import asks, tokens
from streamer.delivery.asks import Asks
from streamer.delivery.tokens import Limits, Reason, TokenRefused

NOW = 1_800_000_000
KEYS = {"k1": b"1" * 32}


def path(rest: str, sid: str = "pbs_1", cap: int = 720) -> str:
    return f"/p/{tokens.sign(KEYS, '/a/v/', kid='k1', exp=NOW, cap=cap, sid=sid)}/a/v/{rest}"


def scope(served: str, raw: str | None = None) -> dict[str, object]:
    return {"path": served, "raw_path": (raw or served).encode()}


def refusal(memory: Asks, asked: dict[str, object], now: float = NOW) -> Reason:
    with pytest.raises(TokenRefused) as caught:
        memory.read(asked, now)
    return caught.value.reason


def test_an_entry_depends_on_the_cap_and_a_media_playlist_does_not() -> None:
    memory = Asks(KEYS, Limits())
    entry, media = (memory.read(scope(path(name)), NOW) for name in ("master.m3u8", "v540/vod.m3u8"))
    assert (entry.is_entry, entry.cap, entry.key) == (True, 720, "a/v/master.m3u8")
    assert (media.is_entry, media.cap, media.is_text) == (False, tokens.LARGEST_CAP, True)


def test_a_remembered_path_still_expires() -> None:
    memory = Asks(KEYS, Limits())
    asked = scope(path("v540/vod.m3u8"))
    assert memory.read(asked, NOW) is memory.read(asked, NOW)
    assert refusal(memory, asked, NOW + 61) is Reason.EXPIRED


def test_a_remembered_token_opens_no_higher_rung_and_no_escape() -> None:
    memory = Asks(KEYS, Limits())
    memory.read(scope(path("v540/vod.m3u8")), NOW)
    assert refusal(memory, scope(path("v1080/vod.m3u8"))) is Reason.RUNG
    served = path("v540/vod.m3u8")
    assert refusal(memory, scope(served, served.replace("v540", "%76540"))) is Reason.MALFORMED


def test_a_refusal_is_not_remembered_as_a_grant() -> None:
    memory = Asks(KEYS, Limits())
    forged = scope(path("v540/vod.m3u8").replace("~0720~", "~1080~"))
    assert [refusal(memory, forged) for _ in range(3)] == [Reason.TAMPERED] * 3


def test_both_memories_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asks, "_REMEMBERED", 10)
    memory = Asks(KEYS, Limits())
    for number in range(50):
        memory.read(scope(path("v540/vod.m3u8", sid=f"pbs_{number}")), NOW)
    assert len(memory._grants) == len(memory._texts) == 10


def test_segments_are_not_remembered_one_by_one() -> None:
    memory = Asks(KEYS, Limits())
    for number in range(5):
        memory.read(scope(path(f"v540/0000-a/{number:06d}.m4s")), NOW)
    assert (len(memory._grants), len(memory._texts)) == (1, 0)
