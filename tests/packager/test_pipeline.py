"""Whole encodes of small films: the right frame at the right time in every rung, in sync, in the right shape and colours."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from packager import pipeline
from packager.errors import SourceRefused
from packager.fmp4 import read_init
from packager.pipeline import Options, Progress
from storage.memory import MemoryStore
from tests.packager import films
from tests.packager.encoding import (
    PREFIX,
    SMALL,
    Made,
    assert_in_sync,
    assert_obeys_the_rules,
    assert_right_frames,
    encode,
    encode_file,
)
from tests.packager.films import Film, Sound

F = Fraction


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Thirteen seconds in two rungs and two chunks, with subtitles."""
    film = Film(seconds=13, size=(480, 270), sounds=(Sound(seconds=13),), gop=100)
    folder = tmp_path_factory.mktemp("long")
    source = films.subtitled(folder / "film.mkv", [(1, 2, "one"), (5.5, 6.5, "<b>two</b> & more")], film)
    return encode_file(source, folder, film)


def test_every_frame_is_at_its_time_in_every_rung_and_across_chunks(long: Made) -> None:
    assert [(r.width, r.height) for r in long.kind("video")] == [(480, 270), (416, 234)]
    assert_right_frames(long, F(0), rate=F(30))
    assert len(long.shown(long.kind("video")[0])) == 390


def test_a_film_of_several_chunks_obeys_every_rule(long: Made) -> None:
    assert_obeys_the_rules(long)


def test_beeps_stay_with_their_frames_in_both_rates_of_sound(long: Made) -> None:
    assert [r.name for r in long.kind("audio")] == ["a1-128k", "a1-48k"]
    for rendition in long.kind("audio"):
        assert_in_sync(long, Sound(seconds=13), F(0), rendition)


def test_subtitles_become_a_webvtt_rendition(long: Made) -> None:
    (text,) = long.kind("text")
    assert text.language == "sv"
    first = long.store.read(f"{PREFIX}/t1/000000.vtt").decode()
    assert "00:00:05.500 --> 00:00:06.500\n" in first and "two" in first and "<b>" not in first


def test_the_report_says_what_was_made(long: Made) -> None:
    report = json.loads(long.store.read(f"{PREFIX}/report.json"))
    assert report == long.package.report
    assert report["duration_s"] == 13.0 and len(report["renditions"]) == 5


def test_the_poster_is_a_jpeg_of_the_films_shape(long: Made) -> None:
    assert long.package.poster == "poster.jpg"
    with av.open(io.BytesIO(long.store.read(f"{PREFIX}/poster.jpg")), format="jpeg_pipe") as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (480, 270)
    assert films.number_of(films.plane(frame)) is not None


def test_encoding_again_repeats_nothing_and_answers_the_same(long: Made) -> None:
    before = {info.key: info.modified for info in long.store.list(PREFIX) if info.key.endswith((".m4s", ".mp4"))}
    again = pipeline.encode(long.source, long.store, PREFIX, options=SMALL)
    after = {info.key: info.modified for info in long.store.list(PREFIX) if info.key.endswith((".m4s", ".mp4"))}
    assert before == after and again == long.package


def test_another_film_does_not_move_in_where_one_lives(long: Made, tmp_path: Path) -> None:
    other = films.make(tmp_path / "other.mp4", Film(seconds=1))
    with pytest.raises(pipeline.PackagerError) as caught:
        pipeline.encode(other, long.store, PREFIX)
    assert caught.value.code == "destination_taken" and not caught.value.retryable


def test_a_prefix_may_depend_on_the_version(tmp_path: Path) -> None:
    source, store = films.make(tmp_path / "film.mp4", Film(seconds=0.5)), MemoryStore()
    package = pipeline.encode(source, store, lambda version: f"ast_1/{version}")
    assert package.prefix == f"ast_1/{package.version}"
    assert store.head(f"{package.prefix}/{package.master}").size


def test_progress_rises_and_ends_playable(tmp_path: Path) -> None:
    seen: list[Progress] = []
    source = films.make(tmp_path / "film.mp4", Film(seconds=7, sounds=()))
    pipeline.encode(source, MemoryStore(), "a/b", report=seen.append, options=Options(segments_per_chunk=1))
    assert [p.stage for p in seen][0] == "probing" and seen[-1] == Progress("packaging", 100.0, 0.0, playable=True)
    assert [p.percent for p in seen] == sorted(p.percent for p in seen)
    assert list(dict.fromkeys(p.stage for p in seen)) == ["probing", "encoding", "packaging"]
    assert any(p.speed and p.eta_s is not None for p in seen)


# The 33 bits of MPEG-TS end at 95443.7 s.
WRAPS = Film(start=F(95442), sounds=(Sound(start=95442.0),))
# name: (film, container, what the top rung looks like, where the film's zero is on the source's clock)
SHAPES: dict[str, tuple[Film, str, tuple[int, int], Fraction]] = {
    "turned by 90": (Film(rotation=90), "mp4", (96, 160), F(0)),
    "turned by 180": (Film(rotation=180), "mp4", (160, 96), F(0)),
    "turned by 270": (Film(rotation=270), "mov", (96, 160), F(0)),
    "pixels twice as wide": (Film(sar=F(2)), "mp4", (320, 96), F(0)),
    "odd sides": (Film(size=(161, 97), codec="ffv1", pixels="yuv444p"), "mkv", (160, 96), F(0)),
    "24000/1001": (Film(rate=F(24000, 1001)), "mp4", (160, 96), F(0)),
    "120 fps": (Film(rate=F(120), seconds=2, sounds=(Sound(seconds=2),)), "mp4", (160, 96), F(0)),
    "late picture": (Film(start=F(1, 2), seconds=2.5), "mp4", (160, 96), F(0)),
    "late picture between two frames": (Film(start=F(417, 1000), seconds=2.5), "mkv", (160, 96), F(0)),
    "late sound": (Film(sounds=(Sound(start=1.0, seconds=2),)), "mp4", (160, 96), F(0)),
    "short sound": (Film(sounds=(Sound(seconds=1.2),)), "mp4", (160, 96), F(0)),
    "long sound": (Film(seconds=1.5), "mp4", (160, 96), F(0)),
    "mono": (Film(sounds=(Sound(layout="mono"),)), "mp4", (160, 96), F(0)),
    "surround": (Film(sounds=(Sound(layout="5.1"),)), "mp4", (160, 96), F(0)),
    "7.1": (Film(sounds=(Sound(layout="7.1", codec="flac"),)), "mkv", (160, 96), F(0)),
    "Matroska": (Film(), "mkv", (160, 96), F(0)),
    "MPEG-TS that starts at 10 s": (Film(start=F(10), sounds=(Sound(start=10.0),)), "ts", (160, 96), F(10)),
    "starts at 10 s": (Film(start=F(10), sounds=(Sound(start=10.0),)), "mkv", (160, 96), F(10)),
    "10 bit": (Film(pixels="yuv420p10le"), "mp4", (160, 96), F(0)),
    "4:2:2": (Film(pixels="yuv422p"), "mp4", (160, 96), F(0)),
    "RGB": (Film(codec="libx264rgb", pixels="bgr0"), "mkv", (160, 96), F(0)),
    "single frame": (Film(seconds=1 / 30, sounds=()), "mp4", (160, 96), F(0)),
    "half a second": (Film(seconds=0.5, sounds=(Sound(seconds=0.5),)), "mp4", (160, 96), F(0)),
    "one frame a second": (Film(rate=F(1), seconds=8, sounds=(Sound(seconds=8),)), "mkv", (160, 96), F(0)),
    "portrait": (Film(size=(96, 160)), "mp4", (96, 160), F(0)),
    "interlaced": (Film(interlaced=True, rate=F(25)), "mp4", (160, 96), F(0)),
    "NTSC interlaced": (Film(interlaced=True, rate=F(30000, 1001)), "mp4", (160, 96), F(0)),
    "8K still": (Film(size=(7680, 4320), rate=F(1), seconds=2, sounds=()), "mp4", (1920, 1080), F(0)),
    "clock that wraps": (WRAPS, "ts", (160, 96), F(95442)),
    "MPEG-2 interlaced": (Film(interlaced=True, rate=F(25), codec="mpeg2video"), "ts", (160, 96), F(0)),
}  # fmt: skip


@pytest.mark.parametrize("case", SHAPES)
def test_the_picture_is_upright_square_in_time_and_in_sync(case: str, tmp_path: Path) -> None:
    film, container, size, origin = SHAPES[case]
    made = encode(tmp_path, film, f"film.{container}")
    top = made.kind("video")[0]
    assert (top.width, top.height) == (made.package.width, made.package.height) == size
    # A woven picture's number is read from both fields at once; a picture off the grid by a fraction may show its neighbour.
    assert_right_frames(made, origin, tolerance=1 if film.interlaced or film.start == F(417, 1000) else 0)
    assert len(made.kind("audio")) == 2 * len(film.sounds)
    for rendition in made.kind("audio"):
        assert_in_sync(made, film.sounds[0], origin, rendition)
    assert_obeys_the_rules(made)


def test_an_avi_without_times_keeps_its_frames_in_order(tmp_path: Path) -> None:
    """Nobody wrote down when its frames are shown, so only order and sync within a frame can be asked for."""
    sound = Sound(codec="mp3")
    made = encode(tmp_path, Film(sounds=(sound,)), "film.avi")
    assert_right_frames(made, F(0), tolerance=1)
    numbers = [frame.number for frame in made.shown(made.kind("video")[0])]
    assert list(dict.fromkeys(numbers)) == list(range(90))
    assert_in_sync(made, sound, F(-23, 1000), made.kind("audio")[0], within=0.03)


PASSED = {
    "plain": (Film(seconds=13, gop=60, sounds=(Sound(seconds=13),)), "mp4", F(0)),
    "key frames where they fall": (Film(seconds=13, gop=41, sounds=(Sound(seconds=13),)), "mkv", F(0)),
    "late picture": (Film(start=F(1, 2), seconds=6.5, sounds=(Sound(seconds=7),)), "mp4", F(0)),
    "MPEG-TS": (Film(start=F(10), seconds=7, sounds=(Sound(start=10.0, seconds=7),)), "ts", F(10)),
    "no B-frames": (Film(seconds=7, options={"bf": "0"}, sounds=(Sound(seconds=7),)), "mp4", F(0)),
    "60 fps": (Film(rate=F(60), seconds=5, gop=120, sounds=(Sound(seconds=5),)), "mp4", F(0)),
}


@pytest.mark.parametrize("case", PASSED)
def test_a_passed_through_picture_is_as_right_as_an_encoded_one(case: str, tmp_path: Path) -> None:
    film, container, origin = PASSED[case]
    film = replace(film, size=(480, 270), colour=(1, 1, 1, 1))
    made = encode(tmp_path, film, f"film.{container}", Options(segments_per_chunk=1))
    assert any("not re-encoded" in note for note in made.package.report["decisions"]), made.package.report["decisions"]
    assert_right_frames(made, origin)
    assert_in_sync(made, film.sounds[0], origin, made.kind("audio")[0])
    assert_obeys_the_rules(made)


def test_variable_frames_keep_their_own_times(tmp_path: Path) -> None:
    times = tuple(F(ms, 1000) for ms in (0, 33, 80, 200, 525, 1000, 1040, 2500, 2550, 2600, 2990))
    made = encode(tmp_path, Film(times=times), "film.mkv")
    first_shown: dict[int | None, float] = {}
    for frame in made.shown(made.kind("video")[0]):
        first_shown.setdefault(frame.number, frame.time)
    assert list(first_shown) == list(range(len(times)))
    assert all(abs(first_shown[n] - float(time)) < 0.001 for n, time in enumerate(times))
    assert_in_sync(made, Sound(), F(0), made.kind("audio")[0])
    assert_obeys_the_rules(made)


def test_a_variable_film_with_long_stills_keeps_its_segments_short(tmp_path: Path) -> None:
    times = tuple(F(ms, 1000) for ms in (0, 1400, 2800, 4200, 5600, 7000, 8400, 20_000))
    made = encode(tmp_path, Film(times=times, sounds=(), size=(320, 240)), "film.mkv")
    assert_right_frames(made, F(0))
    assert_obeys_the_rules(made)


def test_transport_streams_are_right_across_chunks(tmp_path: Path) -> None:
    """Their seeks land behind the key frame asked for, so each chunk has to look further back."""
    film = Film(seconds=13, start=F(100), sounds=(Sound(start=100.0, seconds=13),), gop=77)
    made = encode(tmp_path, film, "film.ts")
    assert_right_frames(made, F(100))
    assert_in_sync(made, film.sounds[0], F(100), made.kind("audio")[0])


@pytest.mark.parametrize("passthrough", [True, False])
def test_a_film_trimmed_by_an_edit_list_starts_at_the_cut(passthrough: bool, tmp_path: Path) -> None:
    """More frames are hidden before it than the probe looks at to find one that decodes."""
    film = Film(seconds=20, gop=300, sounds=(Sound(seconds=20),))
    whole = films.make(tmp_path / "whole.mp4", film)
    cut = films.trimmed(tmp_path / "cut.mp4", whole, 7.5, 12)
    made = encode_file(cut, tmp_path, film, Options(segments_per_chunk=1, passthrough=passthrough))
    assert abs(made.package.duration_s - 12) < 0.2
    assert_right_frames(made, F(15, 2))
    heard = [onset % 0.5 for onset in made.onsets(made.kind("audio")[0])]
    assert len(heard) >= 23 and all(min(off, 0.5 - off) <= 0.02 for off in heard)
    assert_obeys_the_rules(made)


def test_recordings_that_share_their_times_are_cut_to_one_and_the_loss_is_said(tmp_path: Path) -> None:
    """Another size, another layout, and the clock starts again: two transport streams one after the other."""
    film = Film(seconds=4, sounds=(Sound(seconds=4),))
    first = films.make(tmp_path / "first.ts", film)
    second = films.make(tmp_path / "second.ts", replace(film, size=(96, 64), sounds=(Sound(seconds=4, layout="5.1"),)))
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    made = encode_file(both, tmp_path, film)
    assert abs(made.package.duration_s - 4) < 0.1
    assert any("jump back" in note for note in made.package.report["decisions"])
    assert_obeys_the_rules(made)


def test_a_picture_that_changes_its_size_and_sound_that_changes_its_layout(tmp_path: Path) -> None:
    film = Film(seconds=3, sounds=(Sound(seconds=3),))
    first = films.make(tmp_path / "first.ts", film)
    later = replace(film, start=F(3), size=(96, 64), sounds=(Sound(start=3.0, seconds=3, layout="5.1"),))
    second = films.make(tmp_path / "second.ts", later)
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    made = encode_file(both, tmp_path, replace(film, seconds=6))
    assert (made.package.width, made.package.height) == (160, 96)
    numbers = [frame.number for frame in made.shown(made.kind("video")[0])]
    assert numbers[:85] == [*range(85)] and numbers[-85:] == [*range(5, 90)], "but where the two overlap"
    heard = [round(onset * 2) / 2 for onset in made.onsets(made.kind("audio")[0])]
    assert heard == [n / 2 for n in range(12) if n != 6], "the beep at 3 s lies in the overlap too"
    assert_obeys_the_rules(made)


def test_a_gap_in_the_time_stamps_holds_the_picture_and_is_silent(tmp_path: Path) -> None:
    film = Film(seconds=2, sounds=(Sound(seconds=2),))
    later = replace(film, start=F(7), sounds=(Sound(start=7.0, seconds=2),))
    made = encode_file(_one_after_the_other(tmp_path, film, later), tmp_path, replace(film, seconds=9))
    assert abs(made.package.duration_s - 9) < 0.1
    shown = made.shown(made.kind("video")[0])
    assert {frame.number for frame in shown if 2.1 < frame.time < 6.9} == {59}, "the last picture before the gap"
    assert [frame.number for frame in shown if frame.time > 7.01][-50:] == [*range(10, 60)]
    assert [round(onset * 2) / 2 for onset in made.onsets(made.kind("audio")[0])] == [0, 0.5, 1, 1.5, 7, 7.5, 8, 8.5]
    assert_obeys_the_rules(made)


def test_decode_times_that_go_back_a_little_cost_only_what_overlaps(tmp_path: Path) -> None:
    film = Film(seconds=2, sounds=(Sound(seconds=2),))
    later = replace(film, start=F(3, 2), sounds=(Sound(start=1.5, seconds=2),))
    made = encode_file(_one_after_the_other(tmp_path, film, later), tmp_path, replace(film, seconds=3.5))
    assert abs(made.package.duration_s - 3.5) < 0.1
    numbers = [frame.number for frame in made.shown(made.kind("video")[0])]
    assert numbers[:40] == [*range(40)] and numbers[-40:] == [*range(20, 60)]
    assert_obeys_the_rules(made)


def _one_after_the_other(folder: Path, *parts: Film) -> Path:
    """Transport streams may simply be put together."""
    made = [films.make(folder / f"{number}.ts", film).read_bytes() for number, film in enumerate(parts)]
    (folder / "whole.ts").write_bytes(b"".join(made))
    return folder / "whole.ts"


def test_interlaced_pictures_are_right_across_chunks(tmp_path: Path) -> None:
    film = Film(seconds=13, interlaced=True, rate=F(25), sounds=(), gop=60)
    made = encode(tmp_path, film, "film.mp4")
    assert_right_frames(made, F(0), tolerance=1)


def test_small_rungs_of_a_fast_film_take_every_second_frame_and_share_key_frames(tmp_path: Path) -> None:
    made = encode(tmp_path, Film(seconds=2.5, rate=F(60), size=(960, 540), sounds=()), "film.mp4")
    assert [(r.height, r.frame_rate) for r in made.kind("video")] == [(540, "60"), (360, "30"), (234, "30")]
    assert_right_frames(made, F(0))
    assert_obeys_the_rules(made)


def test_sound_alone_has_no_video_and_its_cover_is_the_poster(tmp_path: Path) -> None:
    made = encode(tmp_path, Film(video=False, sounds=(Sound(seconds=14),)), "film.m4a")
    assert not made.kind("video") and made.package.poster is None and made.package.width is None
    assert_in_sync(made, Sound(seconds=14), F(0), made.kind("audio")[0])
    assert_obeys_the_rules(made)


def test_two_languages_are_two_tracks_in_each_group(tmp_path: Path) -> None:
    sounds = (Sound(language="eng"), Sound(language="swe", title='The "director"'))
    made = encode(tmp_path, Film(sounds=sounds, seconds=3), "film.mkv")
    assert [(r.name, r.language) for r in made.kind("audio")] == [
        ("a1-128k", "en"), ("a1-48k", "en"), ("a2-128k", "sv"), ("a2-48k", "sv"),
    ]  # fmt: skip
    assert_obeys_the_rules(made)


@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_sound_whose_loudness_is_left_alone_keeps_its_level(layout: str, tmp_path: Path) -> None:
    film = Film(video=False, sounds=(Sound(layout=layout, codec="pcm_s16le"),))
    made = encode(tmp_path, film, "film.wav", Options(loudness=None))
    _, wave = films.samples(made.store, PREFIX, "a1-128k")
    loud = wave[:, np.abs(wave).max(axis=0) > 0.2]
    assert np.abs(np.abs(loud).max(axis=1) - 0.5).max() < 0.12, "the source's beeps peak at 0.5"
    begin = 48000 // 2 + 480
    rms = np.sqrt(np.mean(wave[:, begin : begin + 1920] ** 2, axis=1))
    assert np.abs(rms - 0.5 / np.sqrt(2)).max() < 0.02


# name: (pixel format, tags of the source, tags of the result)
COLOURS: dict[str, tuple[str, str, tuple[int, int, int, int] | None, tuple[int, int, int]]] = {
    "untagged SD": ("libx264", "yuv420p", None, (6, 1, 6)),
    "BT.709": ("libx264", "yuv420p", (1, 1, 1, 1), (1, 1, 1)),
    "NTSC": ("libx264", "yuv420p", (6, 6, 6, 1), (6, 6, 6)),
    "PAL": ("libx264", "yuv420p", (5, 6, 5, 1), (5, 6, 5)),
    "full range": ("libx264", "yuv420p", (1, 1, 1, 2), (1, 1, 1)),
    "full range, old pixel format": ("libx264", "yuvj420p", (6, 6, 6, 2), (6, 6, 6)),
    "4:4:4": ("libx264", "yuv444p", (1, 1, 1, 1), (1, 1, 1)),
    "10 bit": ("libx264", "yuv420p10le", (1, 1, 1, 1), (1, 1, 1)),
    "RGB": ("libx264rgb", "bgr0", None, (1, 1, 1)),
    "PNG": ("png", "rgb24", None, (1, 1, 1)),
}


@pytest.mark.parametrize("case", COLOURS)
def test_colours_are_kept_and_tagged_in_the_bitstream_and_the_container(case: str, tmp_path: Path) -> None:
    codec, pixels, tags, expected = COLOURS[case]
    paint = (200, 80, 40)
    film = Film(codec=codec, pixels=pixels, colour=tags, paint=paint, seconds=0.2, sounds=(), size=(480, 270))
    made = encode(tmp_path, film, "film.mov" if codec == "png" else "film.mkv" if "rgb" in codec else "film.mp4")
    for rendition in made.kind("video"):
        frame = films.frames(made.store, PREFIX, rendition.name)[2]
        assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (*expected, 1)
        assert all(abs(a - b) < 2.5 for a, b in zip(films.rgb(frame), paint, strict=True)), films.rgb(frame)
        init = films.joined(made.store, PREFIX, rendition.name)
        entry = read_init(init).tracks[0].entry
        assert entry.colour == (*expected, False)
        assert entry.sps and (entry.sps.colour, entry.sps.full_range) == (expected, False)


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "film.mp4")
    with pytest.raises(SourceRefused):
        pipeline.encode(tmp_path / "film.mp4", MemoryStore(), "a/b")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused) as caught:
        pipeline.probe(tmp_path / "film.mp4")
    assert caught.value.code == "no_such_file"
