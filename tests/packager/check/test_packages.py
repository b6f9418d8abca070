"""Whole packages of other shapes: what must pass, and bytes that must not bring the checker down."""

from __future__ import annotations

import random
import tracemalloc
from fractions import Fraction
from pathlib import Path

import pytest

from packager.check import check
from packager.check.report import Findings
from packager.check.tags import attributes
from packager.playlist import multivariant
from tests.packager import tiny
from tests.packager.check.surgery import MASTER, drop, edit, encrypt, measured_again


def musts(root: Path) -> list[str]:
    return [finding.message for finding in check(str(root)).findings if finding.severity == "must"]


def test_an_encrypted_package_is_decrypted_and_breaks_nothing(good: Path, renditions: tiny.Renditions) -> None:
    folders = [made.folder for made in (*renditions.videos, *renditions.audios)]
    for folder in folders:
        encrypt(good, folder)
    videos, audios = ([measured_again(made, good) for made in kind] for kind in (renditions.videos, renditions.audios))
    (good / MASTER).write_text(multivariant(videos, audios, renditions.texts))
    report = check(str(good))
    assert report.findings == []
    assert {facts["uri"].partition("/")[0] for facts in report.facts["playlists"] if facts["encrypted"]} == set(folders)


def test_a_wrong_key_is_told_apart_from_a_broken_file(good: Path) -> None:
    encrypt(good, "v144")
    (good / "v144/key").write_bytes(b"x" * 16)
    assert {finding.rule for finding in check(str(good)).findings} >= {44}


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(50)], ids=str)
def test_natural_rates_with_a_last_short_segment_pass(tmp_path: Path, fps: Fraction) -> None:
    tiny.package(tmp_path, seconds=14, fps=fps)
    assert check(str(tmp_path)).findings == []


def test_a_variable_rate_passes(tmp_path: Path) -> None:
    times = tuple(number * 3000 + number * 7919 % 900 for number in range(360))
    track, samples = tiny.video(frames=360, times=times, timescale=90000)
    made = tiny.write_video(tmp_path, "v", track, samples, Fraction(30))
    end = Fraction(made.segments[-1].start + made.segments[-1].duration, 90000)
    sound = tiny.write_audio(tmp_path, "a", *tiny.audio(float(end)), "a128", "English", "en", True)
    tiny.write_playlists(tmp_path, [made], [sound])
    assert musts(tmp_path) == []


def test_a_silent_film_passes(tmp_path: Path) -> None:
    clips = [tiny.video(width, height, frames=120) for width, height in ((160, 96), (240, 144))]
    videos = [tiny.write_video(tmp_path, f"v{n}", *clip, Fraction(30)) for n, clip in enumerate(clips)]
    tiny.write_playlists(tmp_path, videos)
    assert check(str(tmp_path)).findings == []


def test_sound_alone_has_no_picture_rules(tmp_path: Path) -> None:
    audios = [
        tiny.write_audio(tmp_path, f"a{kbps}", *tiny.audio(20, kbps), f"a{kbps}", "Sound", "und", True)
        for kbps in (128, 48)
    ]
    tiny.write_playlists(tmp_path, [], audios)
    assert check(str(tmp_path)).findings == []


def test_sound_in_two_languages_without_video_passes(tmp_path: Path) -> None:
    audios = [
        tiny.write_audio(tmp_path, code, *tiny.audio(13, 128, 2, code), "a128", code, code, code == "en")
        for code in ("en", "sv")
    ]
    tiny.write_playlists(tmp_path, [], audios)
    assert check(str(tmp_path)).findings == []


def test_less_than_a_second_is_one_segment(tmp_path: Path) -> None:
    videos = [tiny.write_video(tmp_path, "v", *tiny.video(frames=12), Fraction(30))]
    audios = [tiny.write_audio(tmp_path, "a", *tiny.audio(0.4), "a128", "English", "en", True)]
    tiny.write_playlists(tmp_path, videos, audios)
    assert musts(tmp_path) == []


def test_discontinuities_at_the_same_places_pass(good: Path) -> None:
    for path in good.glob("*/vod.m3u8"):
        name = next(line for line in path.read_text().splitlines() if line.startswith("000001"))
        edit(str(path.relative_to(good)), f"\n{name}", f"\n#EXT-X-DISCONTINUITY\n{name}")(good)
    assert musts(good) == []


def test_the_playlist_file_may_be_named_itself(good: Path) -> None:
    (good / MASTER).rename(good / "film.m3u8")
    assert check(str(good / "film.m3u8")).findings == []
    assert check(str(good)).findings == [], "the one that lists variants is found"


@pytest.mark.parametrize("place", ["/nowhere/at/all", "gopher://host/x", ""])
def test_a_place_without_a_package_is_a_finding(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    findings = check(place).findings
    assert [(finding.rule, finding.severity) for finding in findings] == [(9, "must")]


def test_a_media_playlist_alone_is_refused_in_words(good: Path) -> None:
    findings = check(str(good / "v144/vod.m3u8")).findings
    assert len(findings) == 1 and "multivariant" in findings[0].message


def test_nothing_outside_of_the_package_is_read(good: Path) -> None:
    (good.parent / "secret.m4s").write_bytes(b"secret")
    before = "000000.m4s"
    for uri in ("../../secret.m4s", "/etc/passwd", "file:///etc/passwd"):
        edit("v144/vod.m3u8", before, uri)(good)
        before = uri
        assert any("cannot be read" in message for message in musts(good)), uri


def test_repeated_faults_are_told_five_times_and_counted() -> None:
    findings = Findings()
    for number in range(9):
        findings.add("mime", "a", f"fault {number}")
    told = findings.listed()
    assert len(told) == 6 and told[-1].message == "and 4 more of the same"


@pytest.mark.parametrize("text", ["A=1,", "A", "A=1,A=2", 'A="x', "a=1", "A=1 2", ",A=1"])
def test_malformed_attribute_lists_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="attribute list|twice"):
        attributes(text)


def test_quoted_commas_stay_inside() -> None:
    assert attributes('CODECS="a,b",B=1x2,C="" ,'[:-2]) == {"CODECS": "a,b", "B": "1x2", "C": ""}


def test_random_damage_is_found_and_never_raises(good: Path) -> None:
    """200 seeded mutations of every kind of file; the checker answers each time."""
    chance = random.Random(7)
    files = sorted(
        path for path in good.rglob("*") if path.is_file() and path.parent.name in ("good", "v96", "a-48-en", "t0")
    )
    for folder in ("v144", "v192", "a-128-en", "a-128-sv", "a-48-sv"):
        drop(MASTER, f"{folder}/vod.m3u8")(good) if folder.startswith("v") else drop(
            MASTER, f'#EXT-X-MEDIA:URI="{folder}'
        )(good)
    for _ in range(200):
        path = chance.choice(files)
        whole = path.read_bytes()
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 3, 30))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        end = chance.choice((len(damaged), chance.randrange(len(damaged))))
        path.write_bytes(bytes(damaged[:end]))
        check(str(good))
        path.write_bytes(whole)


def test_memory_does_not_grow_with_the_film(tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 8):
        root = tmp_path / str(minutes)
        videos = [tiny.write_video(root, "v", *_repeated(minutes), Fraction(30))]
        for segment in (root / "v").glob("*.m4s"):
            segment.write_bytes(segment.read_bytes() + b"\0\x08\0\0free" + bytes((1 << 19) - 8))
        tiny.write_playlists(root, videos)
        tracemalloc.start()
        check(str(root))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.3, peaks


def _repeated(minutes: int) -> tuple[tiny.VideoTrack, tuple[tiny.Sample, ...]]:
    track, samples = tiny.video(frames=60)
    return track, samples * (30 * minutes)
