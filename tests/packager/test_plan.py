"""The plan is the address of a package: the same facts and options must give the same bytes, and nothing may be lost on the way through JSON."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager import plan as planning
from packager.facts import AudioFacts, Colour, SourceFacts, VideoFacts
from packager.plan import AAC_FRAME, AUDIO_RATE, Options, Plan

BASE = Fraction(1, 90000)
GREY = Colour(2, 2, 2, False)


def picture(frames: int = 90, start: Fraction = Fraction(0), rate: Fraction = Fraction(30)) -> VideoFacts:
    pts = tuple(round((start + n / rate) / BASE) for n in range(frames))
    return VideoFacts(
        0, "h264", 1280, 720, Fraction(1), 0, "yuv420p", False, GREY, rate, BASE, pts, pts[::30], round(1 / rate / BASE)
    )  # fmt: skip


def sound(start: Fraction = Fraction(0), end: Fraction = Fraction(3), channels: int = 2, index: int = 1) -> AudioFacts:
    return AudioFacts(index, "aac", channels, 48000, "en", "", False, start, end)


def film(video: VideoFacts | None = None, *audio: AudioFacts) -> SourceFacts:
    return SourceFacts("mov,mp4", 3.0, video, audio, (), (), None, ())


def made(facts: SourceFacts, **options: object) -> Plan:
    return planning.make(facts, "0" * 64, Options(**options))  # type: ignore[arg-type]


FILMS = {
    "picture and sound": film(picture(), sound()),
    "picture only": film(picture()),
    "sound only": film(None, sound(), sound(index=2)),
    "late picture": film(picture(60, Fraction(1)), sound()),
    "negative start": film(picture(60, Fraction(-1, 2)), sound(Fraction(-1, 2))),
    "variable": film(replace(picture(), pts=(0, 3000, 90000, 91000, 270000)), sound()),
    "hdr": film(replace(picture(), colour=Colour(9, 16, 9, False)), sound()),
    "turned": film(replace(picture(), rotation=90, sample_aspect=Fraction(4, 3)), sound(channels=6)),
}


@pytest.mark.parametrize("facts", FILMS.values(), ids=FILMS.keys())
def test_a_plan_survives_json(facts: SourceFacts) -> None:
    plan = made(facts)
    again = Plan.from_json(plan.to_json())
    assert again == plan and again.to_json() == plan.to_json()


@pytest.mark.parametrize("facts", FILMS.values(), ids=FILMS.keys())
def test_the_version_is_twenty_hex_digits_and_the_same_every_time(facts: SourceFacts) -> None:
    version = made(facts).version
    assert version == made(facts).version == Plan.from_json(made(facts).to_json()).version
    assert len(version) == 20 and set(version) <= set("0123456789abcdef")


def test_the_version_of_a_known_film_has_not_changed_by_accident() -> None:
    """Change it together with `plan.FORMAT` only when the same decisions lead to other bytes."""
    plan = made(FILMS["picture and sound"])
    assert (plan.format, plan.video and plan.video.grid.count, [a.frames for a in plan.audio]) == (3, 90, [141])


def test_other_options_and_other_sources_have_other_versions() -> None:
    facts = FILMS["picture and sound"]
    versions = {
        made(facts).version,
        made(facts, max_short_side=360).version,
        made(facts, audio_kbps=(96,)).version,
        made(facts, loudness=None).version,
        planning.make(facts, "1" * 64, Options()).version,
    }
    assert len(versions) == 5


def test_more_segments_a_chunk_is_another_plan() -> None:
    long = film(picture(900), sound(end=Fraction(30)))
    assert made(long).version != made(long, segments_per_chunk=1).version


@given(st.integers(1, 900), st.integers(-5000, 5000), st.integers(-3000, 3000), st.integers(1, 40_000))
def test_every_track_covers_the_film(frames: int, start_ms: int, before_ms: int, length_ms: int) -> None:
    begin = Fraction(start_ms, 1000)
    heard = begin + Fraction(before_ms, 1000)
    plan = made(film(picture(frames, begin), sound(heard, heard + Fraction(length_ms, 1000))))
    assert plan.video
    grid = plan.video.grid
    assert Fraction(grid.end, grid.timescale) == plan.duration
    for track in plan.audio:
        assert abs(Fraction(track.frames * AAC_FRAME, AUDIO_RATE) - plan.duration) <= Fraction(AAC_FRAME, AUDIO_RATE)
        assert track.cuts[0] == 0 and list(track.cuts) == sorted(set(track.cuts)) and track.cuts[-1] < track.frames
        edges = [Fraction(frame * AAC_FRAME, AUDIO_RATE) for frame in (*track.cuts, track.frames)]
        assert all(b - a < Fraction(13, 2) for a, b in pairwise(edges)), "nor does sound round to more than 6 s"
    assert abs(plan.origin - min(begin, heard)) <= planning.LONGEST_TRIM_S
    assert abs(plan.video.origin - plan.origin) <= 1 / (2 * grid.rate)


@given(st.integers(30, 900), st.integers(0, 2000))
def test_frames_fall_on_slots_and_not_between_them(frames: int, late_ms: int) -> None:
    """Between two slots the rounding of time stamps decides which frames are shown twice and which never."""
    facts = film(picture(frames, Fraction(late_ms, 1000)), sound(Fraction(0), Fraction(60)))
    plan = made(facts)
    assert plan.video and facts.video
    slot = (facts.video.start - plan.video.origin) * plan.video.grid.rate
    assert abs(slot - round(slot)) <= Fraction(1, 1000)


def test_audio_segments_start_at_the_frame_nearest_to_the_pictures_cut() -> None:
    plan = made(film(picture(1800), sound(end=Fraction(60))))
    assert plan.cuts[:3] == [0, 6, 12]
    for cut, frame in zip(plan.cuts, plan.audio[0].cuts, strict=False):
        assert abs(cut - Fraction(frame * AAC_FRAME, AUDIO_RATE)) <= Fraction(AAC_FRAME, 2 * AUDIO_RATE)


@given(st.integers(1, 400_000))
def test_sound_alone_is_cut_every_six_seconds_with_no_segment_too_long(length_ms: int) -> None:
    plan = made(film(None, sound(end=Fraction(length_ms, 1000))))
    track = plan.audio[0]
    edges = [Fraction(frame * AAC_FRAME, AUDIO_RATE) for frame in (*track.cuts, track.frames)]
    assert all(b - a < Fraction(13, 2) for a, b in pairwise(edges))


def test_a_little_priming_before_the_picture_is_trimmed_and_the_picture_not_held() -> None:
    plan = made(film(picture(90, Fraction(10)), sound(Fraction(10) - Fraction(1024, 48000), Fraction(13))))
    assert plan.origin == 10 and plan.video and plan.video.grid.count == 90
    assert not any("held" in note for note in plan.notes)


def test_a_late_picture_is_held_from_the_first_sound_on_and_that_is_said() -> None:
    plan = made(FILMS["late picture"])
    assert plan.origin == 0 and plan.duration == 3
    assert any("held" in note for note in plan.notes)


def test_hdr_becomes_bt709_and_that_is_said() -> None:
    plan = made(FILMS["hdr"])
    assert plan.video and plan.video.colour == planning.BT709
    assert any("tone-mapped" in note for note in plan.notes)


@pytest.mark.parametrize(("height", "matrix"), [(720, 1), (576, 6)])
def test_untagged_pictures_are_bt709_from_hd_on(height: int, matrix: int) -> None:
    plan = made(film(replace(picture(), height=height)))
    assert plan.video and plan.video.colour.matrix == matrix


def test_a_turned_film_is_scaled_before_it_is_turned() -> None:
    plan = made(FILMS["turned"])
    assert plan.video
    assert (plan.video.width, plan.video.height) == (plan.video.rungs[0].height, plan.video.rungs[0].width)
    assert plan.video.rungs[0].height > plan.video.rungs[0].width


def test_a_variable_film_of_many_frames_is_not_halved() -> None:
    """Its key frames need not fall on even slots, where a half-rate rung could have them."""
    pts = tuple(90000 * n // 50 + 900 * (n % 3) for n in range(300))
    plan = made(film(replace(picture(), pts=pts, key_pts=pts[:1])))
    assert plan.video and not plan.video.grid.frame and plan.video.grid.rate > 31
    assert all(rung.step == 1 for rung in plan.video.rungs)


def test_exactly_one_audio_track_is_the_default() -> None:
    tracks = (sound(), replace(sound(index=2), default=True), replace(sound(index=3), default=True))
    assert [track.default for track in made(film(picture(), *tracks)).audio] == [False, True, False]
    assert [track.default for track in made(film(picture(), sound(), sound(index=2))).audio] == [True, False]
