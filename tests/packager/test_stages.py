"""Stages: what is published before the end only grows, names nothing that isn't there, and comes in order."""

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import m3u8
import pytest

from packager import pipeline, sandbox
from packager.pipeline import Options, Published, encode
from storage.base import ObjectInfo, ObjectStore
from storage.memory import MemoryStore
from tests.packager.films import Film, Sound, make

sandbox_run = sandbox.run


class Watcher(MemoryStore):
    """A store that checks each playlist at the moment it is written, as a player that reads at once would."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, list[str]] = {}
        self.indexes: list[str] = []

    def put(self, key: str, data: Any, **options: Any) -> ObjectInfo:
        if key.endswith(".json") and key.count("/") == 3:
            self.indexes.append(key)
        if key.endswith(".m3u8"):
            text = bytes(data).decode()
            self.versions.setdefault(key, []).append(text)
            for name in _named(key, text):
                self.head(name)
        return super().put(key, data, **options)


def _named(key: str, text: str) -> list[str]:
    """Every object and playlist that a playlist names."""
    folder = key.rpartition("/")[0]
    parsed = m3u8.loads(text)
    uris = [p.uri for p in parsed.playlists] + [m.uri for m in parsed.media if m.uri] + [s.uri for s in parsed.segments]
    uris += [m.uri for m in parsed.segment_map]
    return [f"{folder}/{uri}" for uri in uris]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four segments in four chunks, of two sizes."""
    return make(
        tmp_path_factory.mktemp("stages") / "film.mp4",
        Film(26, Fraction(10), (480, 270), gop=10, sounds=(Sound(26), Sound(26, title="Other"))),
    )


@pytest.fixture(scope="module")
def seen(film: Path) -> tuple[Watcher, list[Published]]:
    """One encode, and what was told of it."""
    store = Watcher()
    return store, _encode(film, store)


def _encode(film: Path, store: ObjectStore) -> list[Published]:
    news: list[Published] = []
    encode(film, store, "a/v", published=news.append, options=Options(segments_per_chunk=1))
    return news


def test_stages_come_in_order_and_only_grow(seen: tuple[Watcher, list[Published]]) -> None:
    news = seen[1]
    assert news[0].stage == "start" and news[0].seconds == pytest.approx(6, abs=0.1)
    assert news[-1].stage == "final" and news[-1].seconds == news[-1].duration_s
    for stage in ("start", "grow"):
        seconds = [one.seconds for one in news if one.stage == stage]
        assert seconds == sorted(seconds) and seconds[-1] == pytest.approx(26, abs=0.1), stage


def test_a_playlist_of_a_stage_is_an_event_that_keeps_its_beginning(seen: tuple[Watcher, list[Published]]) -> None:
    store = seen[0]
    grown = {
        key: texts
        for key, texts in store.versions.items()
        if key.endswith(("/start.m3u8", "/grow.m3u8")) and key.count("/") == 3
    }
    assert any(len(texts) > 2 for texts in grown.values())
    for key, texts in grown.items():
        assert all("#EXT-X-PLAYLIST-TYPE:EVENT" in text and "#EXT-X-TARGETDURATION:6\n" in text for text in texts), key
        for earlier, later in zip(texts, texts[1:], strict=False):
            assert later.startswith(earlier.removesuffix("\n")), key
        assert [text.rstrip().endswith("#EXT-X-ENDLIST") for text in texts] == [False] * (len(texts) - 1) + [True], key


def test_the_entry_of_a_stage_is_written_once_and_offers_what_the_stage_has(
    seen: tuple[Watcher, list[Published]],
) -> None:
    store = seen[0]
    start, grow, final = (m3u8.loads(_only(store.versions[f"a/v/{name}.m3u8"])) for name in ("start", "grow", "master"))
    assert len(start.playlists) == 1 and min(start.playlists[0].stream_info.resolution) <= 360
    assert {p.stream_info.resolution for p in grow.playlists} == {p.stream_info.resolution for p in final.playlists}
    measured = {p.uri.split("/")[0]: p.stream_info.bandwidth for p in final.playlists}
    for variant in grow.playlists:
        assert variant.stream_info.bandwidth >= measured[variant.uri.split("/")[0]]


def _only(texts: list[str]) -> str:
    assert len(texts) == 1
    return texts[0]


def test_the_start_rung_goes_ahead_of_the_rest_only_for_a_viewer_who_would_have_to_wait(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run", _slow_for_several_rungs)
    monkeypatch.setattr(pipeline, "UNCAUGHT", float("inf"))
    assert _chunks_ahead(film, watched=True) == 5
    assert _chunks_ahead(film, watched=False) == 1
    monkeypatch.setattr(pipeline, "UNCAUGHT", 0.0)
    assert _chunks_ahead(film, watched=True) == 1


def _slow_for_several_rungs(task: str, request: dict[str, Any], **rest: Any) -> Iterator[sandbox.Message]:
    """Children as they are where pictures are large: what makes all rungs is far slower than what makes one."""
    if len(request.get("rungs", ())) > 1:
        time.sleep(2)
    yield from sandbox_run(task, request, **rest)


def _chunks_ahead(film: Path, *, watched: bool) -> int:
    """How many chunks the start rung had when another rung had its first."""
    store = Watcher()
    encode(film, store, "a/v", watched=lambda: watched, options=Options(segments_per_chunk=1, passthrough=False))
    order = [key.split("/")[2] for key in store.indexes if key.split("/")[2].startswith("v")]
    return next(number for number, name in enumerate(order) if name != order[0])


def test_sound_alone_grows_too(tmp_path: Path) -> None:
    store = Watcher()
    news = _encode(make(tmp_path / "sound.wav", Film(video=False, sounds=(Sound(20, codec="pcm_s16le"),))), store)
    assert [one.stage for one in news][-1] == "final"
    assert {one.stage for one in news} == {"grow", "final"}


def test_a_resumed_encode_publishes_what_was_finished_at_once(film: Path) -> None:
    store = Watcher()
    stop: list[Published] = []

    class Stop(Exception):
        pass

    def first_grown(news: Published) -> None:
        stop.append(news)
        if news.stage == "start" and news.seconds > 6.5 or news.stage == "grow":
            raise Stop

    with pytest.raises(Stop):
        encode(film, store, "a/v", published=first_grown, options=Options(segments_per_chunk=1))
    before = {info.key for info in store.list("a/v/") if info.key.endswith(".json")}
    news = _encode(film, store)
    assert news[0].seconds >= max(one.seconds for one in stop if one.stage == news[0].stage)
    assert before <= {info.key for info in store.list("a/v/")}
    assert news[-1].stage == "final"
