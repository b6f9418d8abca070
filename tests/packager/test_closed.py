"""Closed captions from the picture to WebVTT, end to end, and nothing of them left in what is published."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from packager import closed, probe
from packager.check import check
from packager.facts import SourceFacts
from packager.passthrough import TAKEN
from packager.pipeline import Options
from tests.packager import captioned
from tests.packager.captioned import Pair, odd, pop_on
from tests.packager.encoding import Made, encode_file
from tests.packager.films import Film, Sound
from tests.packager.test_captions import timings

CAPTIONS = ((60, 120, "Café tonight?\nYes ♪"), (170, 230, "<i>Markup</i>"))
PAIRS = pop_on(*CAPTIONS)
TEXTS = ["Café tonight?\nYes ♪", "&lt;i&gt;Markup&lt;/i&gt;"]
FILM = Film(
    seconds=8,
    size=(480, 270),
    gop=60,
    sounds=(Sound(8, language="swe"),),
    options={"crf": "30", "preset": "veryfast", "profile": "high"},
)
HEVC = replace(FILM, codec="libx265", options={"preset": "ultrafast", "x265-params": "log-level=none"})
MPEG2 = replace(FILM, codec="mpeg2video", options={})
SHORT = Film(seconds=2)

FILMS = {
    "passed through, MP4": ("film.mp4", FILM, True),
    "passed through, transport stream": ("film.ts", FILM, True),
    "encoded, MP4": ("film.mp4", FILM, False),
    "encoded, Matroska": ("film.mkv", FILM, False),
    "HEVC": ("film.mp4", HEVC, False),
    "MPEG-2": ("film.ts", MPEG2, False),
}


@pytest.fixture(scope="module", params=FILMS.values(), ids=FILMS.keys())
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    name, film, passed = request.param
    folder = tmp_path_factory.mktemp("closed")
    source = captioned.film(folder / name, PAIRS, film)
    assert source.read_bytes().count(b"GA94") >= 240
    package = encode_file(source, folder, film, Options(segments_per_chunk=1, passthrough=passed))
    assert (TAKEN in package.package.report["decisions"]) == passed
    return package


def test_what_was_said_is_in_the_rendition_at_its_time(made: Made) -> None:
    (rendition,) = made.kind("text")
    assert rendition.language == "sv", "as the sound"
    parts = [path.read_text() for path in sorted((made.folder / rendition.name).glob("*.vtt"))]
    found = {timing: text for part in parts for timing, text in zip(timings(part), _spoken(part), strict=True)}
    assert [found[timing] for timing in sorted(found)] == TEXTS
    for (start, end), (first, last, _) in zip(sorted(found), CAPTIONS, strict=True):
        assert start / 1000 == pytest.approx(first / 30, abs=0.05) and end / 1000 == pytest.approx(last / 30, abs=0.05)


def _spoken(part: str) -> list[str]:
    return [block.partition("\n")[2].strip() for block in part.split("\n\n")[1:]]


def test_nothing_of_it_is_left_in_the_picture(made: Made) -> None:
    segments = [path.read_bytes() for path in made.folder.rglob("*.m4s")]
    assert segments and not any(b"GA94" in data for data in segments)


def test_other_messages_in_a_picture_that_is_passed_through_are_kept(made: Made) -> None:
    kept = [data.count(captioned.OTHER_MESSAGE) for data in (path.read_bytes() for path in made.folder.rglob("*.m4s"))]
    assert sum(kept) == (240 if TAKEN in made.package.report["decisions"] else 0)


def test_the_package_breaks_no_rule_and_neglects_no_advice(made: Made) -> None:
    findings = check(str(made.folder)).findings
    assert list(findings) == []
    assert "CLOSED-CAPTIONS=NONE" in (made.folder / "master.m3u8").read_text()


def test_the_report_says_what_was_done(made: Made) -> None:
    assert closed.BECAME in made.package.report["decisions"]


# ---- what the probe makes of other captions ---------------------------------------------------------------------------


def facts(folder: Path, pairs: dict[int, Pair], film: Film = SHORT, field: int = 0) -> SourceFacts:
    return probe.probe(str(captioned.film(folder / "film.mp4", pairs, film, field)))


def test_captions_that_begin_late_are_found(tmp_path: Path) -> None:
    """Between the places that are looked at first there is only padding."""
    (track,) = facts(tmp_path, pop_on((70, 110, "late")), Film(seconds=20, sounds=())).text
    assert [text for _, _, text in track.cues] == ["late"]


def test_the_other_field_is_a_track_of_its_own(tmp_path: Path) -> None:
    (track,) = facts(tmp_path, pop_on((30, 50, "field 2")), field=1).text
    assert (track.codec, track.title) == ("eia_608", "Closed captions CC3")


def test_two_channels_are_two_renditions_and_only_the_first_is_in_the_spoken_language(tmp_path: Path) -> None:
    other = {at + 60: (a | 8, b) if 0 < a < 0x20 else (a, b) for at, (a, b) in pop_on((30, 50, "hola")).items()}
    found = facts(tmp_path, pop_on((30, 50, "hello")) | other, Film(seconds=4, sounds=(Sound(4, language="eng"),)))
    assert [(t.language, t.title) for t in found.text] == [("en", "Closed captions"), ("und", "Closed captions CC2")]
    assert closed.BECAME_SEVERAL.format(2) in found.notes


def test_padding_alone_is_no_rendition(tmp_path: Path) -> None:
    found = facts(tmp_path, {})
    assert (found.text, found.notes) == ((), ())


def test_captions_of_the_newer_kind_alone_are_said_to_be_left_out(tmp_path: Path) -> None:
    data = b"\x03\x42\xff\xff\x02\x21\xfe\x41\x42\xff"
    path = captioned.film(tmp_path / "film.mp4", {}, SHORT, data=lambda number: data)
    found = probe.probe(str(path))
    assert (found.text, found.notes) == ((), (closed.LEFT_OUT,))


@pytest.mark.parametrize(("limit", "value"), [("MAX_CUES", 3), ("MAX_CUE_TEXT", 16)])
def test_cues_and_their_text_are_bounded(
    limit: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pop_on(*((40 * n, 40 * n + 10, "words") for n in range(1, 8)))
    monkeypatch.setattr(probe, limit, value)
    (track,) = facts(tmp_path, made, Film(seconds=10, sounds=())).text
    assert len(track.cues) == 3


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_garbage_in_the_picture_is_published_without_it(codec: str, tmp_path: Path) -> None:
    """Bytes with the right parity and marks, so that they get as far as anything can."""
    dice = random.Random(codec)

    def garbage(number: int) -> bytes:
        triples = b"".join(
            bytes((0xFC | dice.randrange(4), odd(dice.randrange(128)), odd(dice.randrange(128)))) for _ in range(31)
        )
        cut = dice.choice((len(triples), dice.randrange(len(triples))))
        return b"\x03\x5f\xff" + triples[:cut]

    film = Film(seconds=2, codec=codec, sounds=(), gop=30)
    source = captioned.film(tmp_path / ("film.mp4" if codec == "libx264" else "film.ts"), {}, film, data=garbage)
    made = encode_file(source, tmp_path, film, Options(segments_per_chunk=1))
    assert not any(b"GA94" in path.read_bytes() for path in made.folder.rglob("*.m4s"))
    assert not [finding for finding in check(str(made.folder)).findings if finding.severity == "must"]
