"""Facts of generated films; hostile and broken ones are in test_hostile.py."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest

from packager import pipeline, tracks
from packager.errors import SourceRefused
from packager.facts import SourceFacts
from packager.probe import probe as look
from tests.packager import films
from tests.packager.films import Film, Sound


def facts_of(path: Path, film: Film) -> SourceFacts:
    return look(str(films.make(path, film)))


def test_a_plain_film(tmp_path: Path) -> None:
    facts = facts_of(tmp_path / "film.mp4", Film())
    assert facts.video and len(facts.audio) == 1 and facts.notes == ()
    assert (facts.video.codec, facts.video.display_size, facts.video.rate) == ("h264", (160, 96), 30)
    assert len(facts.video.pts) == 90 and len(facts.video.key_pts) == 3
    assert (facts.start, facts.end) == (0, 3)


def test_the_child_sees_the_same_facts(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mp4")
    assert pipeline.probe(path) == look(str(path))


@pytest.mark.parametrize(("turn", "size"), [(90, (96, 160)), (180, (160, 96)), (270, (96, 160))])
def test_a_matrix_means_clockwise_degrees_and_swaps_the_sides(turn: int, size: tuple[int, int], tmp_path: Path) -> None:
    video = facts_of(tmp_path / "film.mp4", Film(rotation=turn, seconds=0.5)).video
    assert video and (video.rotation, video.display_size) == (turn, size)


def test_a_skewed_matrix_is_taken_for_the_nearest_right_angle(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mp4", Film(rotation=90, seconds=0.5))
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    path.write_bytes(data[: at + 4] + (0xFC00).to_bytes(4, "big") + data[at + 8 :])
    video = look(str(path)).video
    assert video and video.rotation in (0, 90, 180, 270)


def test_a_matrix_of_zeros_turns_nothing(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mp4", Film(seconds=0.5))
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    path.write_bytes(data[:at] + bytes(36) + data[at + 36 :])
    video = look(str(path)).video
    assert video and video.rotation == 0


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    video = facts_of(tmp_path / "film.mp4", Film(sar=Fraction(2), seconds=0.5)).video
    assert video and video.display_size == (320, 96)


def test_priming_that_is_never_heard_does_not_move_the_start(tmp_path: Path) -> None:
    assert facts_of(tmp_path / "film.mp4", Film()).audio[0].start == 0


def test_late_tracks_keep_their_offset(tmp_path: Path) -> None:
    facts = facts_of(tmp_path / "film.mkv", Film(start=Fraction(1, 2), sounds=(Sound(start=1.0),)))
    assert facts.video and facts.video.start == Fraction(1, 2)
    assert abs(facts.audio[0].start - 1) < Fraction(3, 100)


def test_languages_and_titles_of_tracks(tmp_path: Path) -> None:
    sounds = (Sound(seconds=1, language="ger", title="Kommentar"), Sound(seconds=1, language="eng"))
    audio = facts_of(tmp_path / "film.mkv", Film(sounds=sounds, seconds=1)).audio
    assert [(track.language, track.title) for track in audio] == [("de", "Kommentar"), ("en", "")]


def test_interlaced_pictures_are_noticed(tmp_path: Path) -> None:
    video = facts_of(tmp_path / "film.mp4", Film(interlaced=True, rate=Fraction(25), seconds=1)).video
    assert video and video.interlaced


def test_full_range_is_noticed_with_and_without_the_old_pixel_format(tmp_path: Path) -> None:
    for pixels in ("yuv420p", "yuvj420p"):
        made = Film(pixels=pixels, colour=(1, 1, 1, 2), paint=(10, 20, 30), seconds=0.2, sounds=())
        video = facts_of(tmp_path / f"{pixels}.mp4", made).video
        assert video and video.colour.full_range and video.colour.matrix == 1


def test_the_larger_of_two_pictures_is_taken_and_the_other_said_to_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    films.join(
        path, [films.make(tmp_path / "s.mp4", Film(sounds=())), films.make(tmp_path / "l.mp4", Film(size=(320, 180)))]
    )
    facts = look(str(path))
    assert facts.video and facts.video.width == 320
    assert any("Video track 0 was left out" in note for note in facts.notes)


def test_a_track_in_a_codec_nobody_knows_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mkv", Film(seconds=1, sounds=(Sound(seconds=1),)))
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_FUTURE/CODEC1"))
    facts = look(str(path))
    assert facts.video is None and len(facts.audio) == 1
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    with pytest.raises(SourceRefused) as caught:
        look(str(path))
    assert caught.value.code == "nothing_to_play" and "track 1" in caught.value.detail


def test_sound_alone_is_a_film(tmp_path: Path) -> None:
    facts = facts_of(tmp_path / "film.wav", Film(video=False, sounds=(Sound(codec="pcm_s16le", layout="mono"),)))
    assert facts.video is None and facts.audio[0].channels == 1 and facts.end == 3


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").touch()
    with pytest.raises(SourceRefused, match="empty"):
        look(str(tmp_path / "film.mp4"))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.avi", "film.wav"])
@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_file_cut_at_any_tenth_is_refused_or_its_loss_recorded(
    name: str, tenth: int, cut: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(cut[name][: len(cut[name]) * tenth // 10])
    try:
        facts = look(str(path))
    except SourceRefused as refused:
        assert refused.code in ("not_media", "truncated", "nothing_to_play")
    else:
        assert any("missing" in note for note in facts.notes) or facts.end - facts.start > Fraction(58, 10)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Whole files of six seconds, by name; mp4 with its index in front, so that a cut leaves it whole."""
    folder = tmp_path_factory.mktemp("cut")
    film = Film(seconds=6, sounds=(Sound(seconds=6),))
    silent = Film(seconds=6, sounds=(Sound(seconds=6, codec="pcm_s16le"),), codec="mpeg4")
    films.make(folder / "film.mkv", film)
    films.make(folder / "film.mp4", film, movflags="+faststart")
    films.make(folder / "film.avi", silent)
    films.make(folder / "film.wav", Film(video=False, sounds=(Sound(seconds=6, codec="pcm_s16le"),)))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_cues_and_their_text_are_bounded_for_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracks, "MAX_CUES", 10)
    path = films.subtitled(tmp_path / "film.mkv", [(n / 10, n / 10 + 0.05, f"line {n}") for n in range(20)])
    assert [len(track.cues) for track in look(str(path)).text] == [10]


def test_subtitles_lose_their_markup_and_keep_their_lines(tmp_path: Path) -> None:
    path = films.subtitled(tmp_path / "film.mkv", [(0.5, 1.5, "one <i>two</i>\nthree"), (2.0, 2.5, "{\\an8}up")])
    (track,) = look(str(path)).text
    assert (track.language, [cue[:2] for cue in track.cues]) == ("sv", [(0.5, 1.5), (2.0, 2.5)])
    assert "three" in track.cues[0][2] and "<i>" not in track.cues[0][2]
    assert "up" in track.cues[1][2]


def test_reading_a_long_file_shows_signs_of_life(tmp_path: Path) -> None:
    seen = []
    look(str(films.make(tmp_path / "film.mkv")), lambda: seen.append(1))
    assert len(seen) > 200, "one for each packet"


def test_no_file_stays_open(tmp_path: Path) -> None:
    path = films.make(tmp_path / "film.mp4")
    before = set(os.listdir("/proc/self/fd"))
    look(str(path))
    assert set(os.listdir("/proc/self/fd")) == before
