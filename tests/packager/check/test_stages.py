"""Films in the making: what holds for them is asked of them, and nothing that only a finished film can have."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from packager import pipeline
from packager.check import RULES, check
from packager.errors import Cancelled
from packager.ladder import Step
from packager.pipeline import Options, Published
from storage.local import LocalStore
from tests.packager.check.surgery import Break, both, drop, edit, remove
from tests.packager.films import Film, Sound, make

OPTIONS = Options(segments_per_chunk=1, passthrough=False, ladder=(Step(64, 60, 28), Step(96, 120, 26)))
GROW, VIDEO, SOUND = "grow.m3u8", "v96-120k/grow.m3u8", "a1-128k/grow.m3u8"
LISTS = (VIDEO, SOUND, "v64-60k/grow.m3u8", "a1-48k/grow.m3u8")
EVENT = "PLAYLIST-TYPE:EVENT"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("film") / "film.mp4", Film(seconds=26, sounds=(Sound(26),)))


@pytest.fixture(scope="module", params=["start", "grow"])
def stage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def stopped(film: Path, stage: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an encode that was cancelled when the stage had two segments."""
    return _stopped(film, stage, tmp_path_factory.mktemp("stopped"))


@pytest.fixture(scope="module")
def half(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _stopped(film, "grow", tmp_path_factory.mktemp("half"))


@pytest.fixture
def growing(half: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(half, tmp_path / "growing"))


@pytest.fixture(scope="module")
def whole(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    pipeline.encode(film, LocalStore(root), "film", options=OPTIONS)
    return root / "film"


def _stopped(film: Path, stage: str, root: Path) -> Path:
    news: list[Published] = []

    def enough() -> bool:
        return any(one.stage == stage and one.seconds > 7 for one in news)

    with pytest.raises(Cancelled):
        pipeline.encode(film, LocalStore(root), "film", published=news.append, cancelled=enough, options=OPTIONS)
    return root / "film"


def append(file: str, text: str) -> Break:
    def harm(root: Path) -> None:
        (root / file).write_text((root / file).read_text() + text)

    return harm


def shorten(file: str) -> Break:
    """The playlist as it was a segment earlier."""

    def harm(root: Path) -> None:
        lines = (root / file).read_text().splitlines()
        last = max(number for number, line in enumerate(lines) if line.startswith("#EXTINF"))
        (root / file).write_text("\n".join([*lines[:last], *lines[last + 2 :], ""]))

    return harm


def segments(root: Path, file: str) -> list[str]:
    return [line for line in (root / file).read_text().splitlines() if line.endswith(".m4s")]


def without_a_segment(root: Path) -> None:
    (root / VIDEO).parent.joinpath(segments(root, VIDEO)[1]).unlink()


def twice_the_same(root: Path) -> None:
    first, second = segments(root, VIDEO)[:2]
    edit(VIDEO, second, first)(root)


def too_little(root: Path) -> None:
    text = (root / GROW).read_text()
    (root / GROW).write_text(re.sub(r"(?<=[:,])BANDWIDTH=\d+", "BANDWIDTH=9000", text))


HARMS: dict[str, tuple[str, Break]] = {
    "a segment is missing": ("missing", without_a_segment),
    "a segment is named before it is there": ("missing", append(VIDEO, "#EXTINF:6.0,\nnot-yet.m4s\n")),
    "a media playlist is missing": ("missing", remove(SOUND)),
    "an init segment is missing": ("missing", edit(VIDEO, 'MAP:URI="', 'MAP:URI="not-yet-')),
    "one playlist says VOD": ("event", edit(VIDEO, EVENT, "PLAYLIST-TYPE:VOD")),
    "one playlist has no type": ("event", drop(VIDEO, "#EXT-X-PLAYLIST-TYPE")),
    "all say VOD and have no end": ("endlist", both(*(edit(name, EVENT, "PLAYLIST-TYPE:VOD") for name in LISTS))),
    "none has a type or an end": ("endlist", both(*(drop(name, "#EXT-X-PLAYLIST-TYPE") for name in LISTS))),
    "a segment is too long": ("too-long", edit(VIDEO, "EXTINF:6.0", "EXTINF:6.9", 1)),
    "target durations differ": ("same-target", edit(SOUND, "TARGETDURATION:6", "TARGETDURATION:7")),
    "EXTINFs are not the real durations": ("extinf-sum", edit(VIDEO, "EXTINF:6.0", "EXTINF:5.9", 1)),
    "timestamps go back": ("tfdt", twice_the_same),
    "the sound has ended before the picture": ("same-range", both(shorten(SOUND), append(SOUND, "#EXT-X-ENDLIST\n"))),
    "BANDWIDTH is below the peak": ("bandwidth", too_little),
    "CODECS are wrong": ("codecs", edit(GROW, "mp4a.40.2", "mp4a.40.5")),
    "segments are not said to be independent": ("independent-media", drop(GROW, "#EXT-X-INDEPENDENT")),
}


def test_a_stage_of_an_encode_under_way_breaks_nothing(stopped: Path, stage: str) -> None:
    lists = list(stopped.glob(f"*/{stage}.m3u8"))
    assert lists and not any("ENDLIST" in path.read_text() for path in lists) and not (stopped / "master.m3u8").exists()
    report = check(str(stopped / f"{stage}.m3u8"))
    assert report.findings == [] and report.facts["event"] and set(report.facts["waived"]) >= {27, 28, 37}
    assert {facts["uri"] for facts in report.facts["playlists"]} == {str(path.relative_to(stopped)) for path in lists}
    assert min(facts["segments"] for facts in report.facts["playlists"]) >= 2


def test_the_folder_of_an_encode_under_way_is_judged_by_a_stage(half: Path) -> None:
    report = check(str(half))
    assert report.findings == [] and report.facts["event"]


@pytest.mark.parametrize("harm", HARMS)
def test_a_fault_in_a_film_in_the_making_is_found(growing: Path, harm: str) -> None:
    name, change = HARMS[harm]
    change(growing)
    named = [(finding.rule, finding.severity, finding.source) for finding in check(str(growing / GROW)).findings]
    known = RULES[name]
    assert known.severity == "must" and (known.number, known.severity, known.source) in named, named


@pytest.mark.parametrize("behind", LISTS)
def test_playlists_are_not_read_at_the_same_moment(growing: Path, behind: str) -> None:
    shorten(behind)(growing)
    assert check(str(growing / GROW)).findings == []


def test_a_stage_that_has_ended_is_an_event_still(whole: Path, stage: str) -> None:
    lists = list(whole.glob(f"*/{stage}.m3u8"))
    assert lists and all("#EXT-X-ENDLIST" in path.read_text() for path in lists)
    assert check(str(whole / f"{stage}.m3u8")).findings == []


@pytest.mark.parametrize("short", LISTS)
def test_what_has_ended_has_one_length(whole: Path, tmp_path: Path, short: str) -> None:
    ended = Path(shutil.copytree(whole, tmp_path / "ended"))
    shorten(short)(ended)
    assert {finding.rule for finding in check(str(ended / GROW)).findings if finding.severity == "must"} == {18}


def test_the_finished_set_of_the_same_film_is_excused_from_nothing(whole: Path, tmp_path: Path) -> None:
    report = check(str(whole))
    assert report.findings == [] and not report.facts["event"] and report.facts["waived"] == []
    wrong = Path(shutil.copytree(whole, tmp_path / "wrong"))
    edit("v96-120k/vod.m3u8", "PLAYLIST-TYPE:VOD", EVENT)(wrong)
    drop("master.m3u8", "#EXT-X-I-FRAME-STREAM-INF")(wrong)
    assert {finding.rule for finding in check(str(wrong)).findings if finding.severity == "must"} == {7, 37}
