"""What a capped entry playlist says, and how texts are kept."""

from __future__ import annotations

import asyncio
import gzip
import threading
from dataclasses import dataclass

import m3u8
import pytest

from storage import ObjectInfo
from storage.memory import MemoryStore
from streamer.delivery import manifests
from streamer.delivery.manifests import NothingWithin, Texts, TooLong, within
from tests.streamer.delivery.serving import MASTER, VOD


def uris(text: str) -> list[str]:
    return [playlist.uri for playlist in m3u8.loads(text).playlists]


def test_a_cap_at_or_above_the_top_changes_nothing() -> None:
    assert within(MASTER, 1080) == within(MASTER, 9999) == MASTER


def test_rungs_above_the_cap_are_gone_with_their_i_frame_playlists() -> None:
    cut = m3u8.loads(within(MASTER, 540))
    assert uris(within(MASTER, 540)) == ["v540-2000k/vod.m3u8", "v432-1100k/vod.m3u8", "v234-145k/vod.m3u8"]
    assert [playlist.uri for playlist in cut.iframe_playlists] == ["v540-2000k/iframes.m3u8"]


def test_without_its_first_variant_the_nearest_to_it_comes_first() -> None:
    assert uris(within(MASTER, 432)) == ["v432-1100k/vod.m3u8", "v234-145k/vod.m3u8"]
    reordered = MASTER.replace("AVERAGE-BANDWIDTH=150000", "AVERAGE-BANDWIDTH=1900000")
    assert uris(within(reordered, 432)) == ["v234-145k/vod.m3u8", "v432-1100k/vod.m3u8"]


def test_groups_nobody_refers_to_are_gone() -> None:
    cut = m3u8.loads(within(MASTER, 234))
    assert [media.group_id for media in cut.media] == ["a48"]
    assert {media.group_id for media in m3u8.loads(within(MASTER, 432)).media} == {"a128", "a48"}


def test_the_rest_of_the_playlist_stays_as_it_is() -> None:
    kept = within(MASTER, 432).splitlines()
    assert set(kept) < set(MASTER.splitlines())
    assert kept[:3] == MASTER.splitlines()[:3]


def test_a_cap_below_every_rung_leaves_nothing() -> None:
    with pytest.raises(NothingWithin):
        within(MASTER, 233)


def test_comments_between_a_tag_and_its_uri_go_with_it() -> None:
    commented = MASTER.replace("\nv1080", "\n# the top\nv1080")
    assert "# the top" in within(commented, 1080) and "# the top" not in within(commented, 540)


def test_a_film_without_pictures_keeps_its_variants() -> None:
    sound = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=130000,CODECS="mp4a.40.2"\na1-128k/vod.m3u8\n'
    assert within(sound, 100) == sound


def test_a_media_playlist_has_nothing_to_cut() -> None:
    assert within(VOD, 100) == VOD


@dataclass(frozen=True)
class Wanted:
    key: str
    rest: str
    cap: int = 9999


class CountingStore(MemoryStore):
    """Counts looks, and holds them up until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def head(self, key: str) -> ObjectInfo:
        self.looks += 1
        self.go_on.wait(10)
        return super().head(key)


def store(**bodies: bytes) -> CountingStore:
    filled = CountingStore()
    for name, body in bodies.items():
        filled.put(f"a/v/v1/{name}.m3u8", body, type="")
    return filled


def wanted(name: str) -> Wanted:
    return Wanted(f"a/v/v1/{name}.m3u8", f"v1/{name}.m3u8")


async def test_a_text_is_read_once_for_all_who_wait() -> None:
    filled = store(vod=VOD.encode())
    filled.go_on.clear()
    texts = Texts(filled, 1 << 20)
    reads = [asyncio.ensure_future(texts.read(wanted("vod"), 0.0)) for _ in range(20)]
    await asyncio.sleep(0)
    filled.go_on.set()
    assert len({id(text) for text in await asyncio.gather(*reads)}) == 1
    assert filled.looks == 1


async def test_a_finished_playlist_stays_fresh_for_seconds_and_an_open_one_for_half() -> None:
    filled = store(vod=VOD.encode(), live=VOD.replace("#EXT-X-ENDLIST\n", "").encode())
    texts = Texts(filled, 1 << 20)
    for name, lasting in (("vod", 4.9), ("live", 0.4)):
        await texts.read(wanted(name), 100.0)
        assert texts.get(wanted(name), 100.0 + lasting) is not None
        assert texts.get(wanted(name), 105.1) is None


async def test_an_open_playlist_may_be_kept_for_a_second_only() -> None:
    filled = store(live=VOD.replace("#EXT-X-ENDLIST\n", "").encode())
    text = await Texts(filled, 1 << 20).read(wanted("live"), 0.0)
    assert (b"cache-control", b"public, max-age=1") in text.plain.headers


async def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    filled = store(one=b"1" * 1000, two=b"2" * 1000, three=b"3" * 1000)
    texts = Texts(filled, 7000)
    for name in ("one", "two", "one", "three"):
        if texts.get(wanted(name), 0.0) is None:
            await texts.read(wanted(name), 0.0)
    assert [texts.get(wanted(name), 0.0) is not None for name in ("one", "two", "three")] == [True, False, True]


async def test_a_text_too_long_to_hold_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LONGEST_TEXT", 100)
    texts = Texts(store(vod=VOD.encode()), 1 << 20)
    with pytest.raises(TooLong):
        await texts.read(wanted("vod"), 0.0)


async def test_both_forms_hold_the_same_text_under_different_tags() -> None:
    text = await Texts(store(vod=VOD.encode()), 1 << 20).read(wanted("vod"), 0.0)
    assert gzip.decompress(text.gzipped.body) == text.plain.body == VOD.encode()
    assert text.plain.etag != text.gzipped.etag
