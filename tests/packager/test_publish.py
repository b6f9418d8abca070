"""Subtitles of a package: their segments are written side by side, in order, and no film makes objects without end."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from packager import plan as planning
from packager import publish
from packager.facts import AudioFacts, SourceFacts, TextFacts
from packager.plan import Options
from storage.memory import MemoryStore

SECONDS = 20


def film(tracks: int) -> SourceFacts:
    sound = AudioFacts(1, "aac", 2, 48000, "en", "", False, Fraction(0), Fraction(SECONDS))
    cues = tuple((float(second), second + 0.9, f"second {second}") for second in range(SECONDS))
    texts = tuple(TextFacts(n, "subrip", "en", "", cues) for n in range(tracks))
    return replace(SourceFacts("matroska", SECONDS, None, (sound,), (), (), None, ()), text=texts)


def written(tracks: int) -> MemoryStore:
    store, facts = MemoryStore(), film(tracks)
    publish._texts(store, "p", planning.make(facts, "0" * 64, Options()), facts)
    return store


def test_each_segment_has_its_own_cues_and_the_playlist_names_them_in_order() -> None:
    store = written(1)
    names = [line for line in store.read("p/t1/vod.m3u8").decode().splitlines() if not line.startswith("#")]
    assert names == [f"{number:06d}.vtt" for number in range(len(names))] and len(names) == 4
    for number, name in enumerate(names):
        text = store.read(f"p/t1/{name}").decode()
        assert f"second {6 * number + 1}\n" in text and f"second {6 * number + 7}\n" not in text


def test_no_more_than_32_tracks_are_published() -> None:
    folders = {info.key.split("/")[1] for info in written(publish.MAX_TEXTS + 8).list("p/")}
    assert len(folders) == publish.MAX_TEXTS == 32
