"""Every real and hard film ends in its right result, checked against what the ffmpeg program makes of the source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from packager import pipeline
from packager.attempt import finished_chunks
from packager.check import check
from packager.facts import SourceFacts, VideoFacts
from packager.loudness import sentence
from packager.pipeline import Options
from packager.plan import Plan
from storage.local import LocalStore
from tests.packager import films
from tests.packager.encoding import PREFIX, Made
from tests.packager.media import FOLDER, heard, luma, ssim, tonemapped

QUICK = Options(max_short_side=240)
HDR = f"{tonemapped(1000)},"  # neither of the two films says more
QUIET = -30.0  # dB: noise far below hearing, which an encoder may drop
LIKE = 0.93  # a neighbouring frame, a missing turn or a lost tone map stays far below


@dataclass(frozen=True)
class Right:
    """The right result. `shape` of the picture in square pixels, None without one; `notes` are words of the report's decisions."""

    shape: tuple[int, int] | None
    seconds: float
    audio: int = 0
    text: int = 0
    notes: tuple[str, ...] = ()
    chapters: int = 0
    like: float = LIKE
    film: str = ""
    picture: str = ""


TABLE = {
    "bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4": Right((1137, 640), 4.0, notes=("not square",)),
    "bear-vp9-odd-dimensions.webm": Right((161, 121), 1.0),
    "bear_with_picture.flac": Right(None, 2.74, audio=1),
    "car-detection.mp4": Right((768, 432), 30.16, audio=1),
    "edit_list_positive_shift.mp4": Right((1920, 1080), 10.0, audio=1, notes=("starts 1.000 s after",)),
    "h264_10bits.mp4": Right((200, 200), 1.0),
    "hdr10-video-with-sdr-container.mp4": Right((1920, 1080), 1.02, audio=1, notes=("PQ", "varies"), picture=HDR),
    "multiple-aac-tracks.mp4": Right(None, 5.01, audio=2, notes=("track 0 has 6 channels", "track 1 has 6 channels")),
    "nasa_13013.mp4": Right((480, 270), 13.05, audio=2, text=2, notes=("track 0 was left out",)),
    "portrait_4k60.mp4": Right((2160, 3840), 0.31, audio=1, notes=("turned 90",)),
    "rotate-buck-bunny.mp4": Right((1080, 1920), 2.0, audio=1, notes=("turned 90", "6 channels")),
    "sample_android_slow_motion.mp4": Right((1280, 720), 0.525, notes=("varies",)),
    "sample_audio_only.mp4": Right(None, 1.02, audio=1),
    "sample_eac3joc.mp4": Right(None, 2.05, audio=1, notes=("6 channels",)),
    "sample_missing_stsd.mp4": Right((1080, 720), 1.0, notes=("Audio track 1 could not be decoded",)),
    "sample_shorter_audio.mp4": Right((320, 240), 1.2, audio=1),
    "sample_video_only.mp4": Right((1080, 720), 1.0),
    "sample_with_chapters.mp4": Right((1080, 720), 1.09, audio=1, chapters=3),
    "sample_with_srt.mkv": Right((1080, 720), 1.07, audio=1, text=1),
    "sar_2x1.mp4": Right((1280, 360), 5.0, notes=("not square",), like=0.85),
    "silent-black-25s.mp4": Right((320, 240), 25.0, audio=1),
    "sine_24le.wav": Right(None, 1.0, audio=1),
    "test-139.ts": Right((1920, 1080), 0.17, audio=2, notes=("interlaced", "6 channels"), film="bwdif=mode=send_frame,"),
    "testsrc2_odd_height_and_width_mpeg2.mp4": Right((121, 81), 0.4),
    "unsupported-primary-audio.mov": Right((64, 36), 0.2, notes=("Audio track 1 could not be decoded", "HLG"), like=0.95, picture=HDR),
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    present = sorted(path.name for path in FOLDER.iterdir() if path.suffix != ".md")
    metafunc.parametrize("name", present, scope="module")


@pytest.fixture(scope="module")
def made(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    store = LocalStore(tmp_path_factory.mktemp("media"))
    package = pipeline.encode(FOLDER / name, store, PREFIX, options=QUICK)
    yield Made(films.PLAIN, FOLDER / name, store, package, store.root / PREFIX)


@pytest.fixture(scope="module")
def facts(made: Made) -> SourceFacts:
    return pipeline.probe(made.source)


def test_a_film_obeys_the_rules(name: str, made: Made) -> None:
    broken = [finding for finding in check(str(made.folder)).findings if finding.severity == "must"]
    assert not broken, broken


def test_a_film_has_its_length_its_shape_and_its_tracks(name: str, made: Made) -> None:
    right = TABLE[name]
    assert abs(made.package.duration_s - right.seconds) <= 0.03
    assert len(made.kind("audio")) == 2 * right.audio and len(made.kind("text")) == right.text
    assert bool(made.kind("video")) == bool(right.shape)
    for rung in made.kind("video"):
        assert right.shape and rung.width and rung.height
        width, height = right.shape
        scale = min(rung.width, rung.height) / min(width, height)
        assert scale <= 1 + 1 / min(width, height)
        assert abs(rung.width - width * scale) <= 2 and abs(rung.height - height * scale) <= 2
        assert Fraction(rung.frame_rate or 0) <= 60


def test_what_was_decided_is_said(name: str, made: Made) -> None:
    report = json.loads((made.folder / "report.json").read_text())
    for words in TABLE[name].notes:
        assert any(words in note for note in report["decisions"]), report["decisions"]
    assert len(report["chapters"]) == TABLE[name].chapters


def test_a_film_has_a_poster_if_it_has_anything_to_see(name: str, made: Made) -> None:
    assert (made.package.poster is not None) == bool(TABLE[name].shape or "picture" in name)
    assert (made.folder / "poster.jpg").exists() == (made.package.poster is not None)


def test_pictures_at_three_places_are_the_sources(name: str, made: Made, facts: SourceFacts) -> None:
    video, plan = facts.video, Plan.from_json((made.folder / "plan.json").read_bytes()).video
    if not video or not plan:
        assert TABLE[name].shape is None
        return
    seen, right = made.shown(made.kind("video")[0]), TABLE[name]
    height, width = seen[0].luma.shape
    # Small rungs may show even ones only.
    frames = sorted({len(video.pts) * tenth // 10 // 2 * 2 for tenth in (1, 5, 9)})
    pictures = luma(made.source, video.index, frames, width, height, film=right.film, picture=right.picture)
    for frame, theirs in zip(frames, pictures, strict=True):
        at = _seconds(video, frame) - float(plan.origin)
        ours = [shown for shown in seen if shown.time <= at + 0.004][-1]
        assert ssim(ours.luma, theirs) >= right.like, f"frame {frame}: {ssim(ours.luma, theirs):.3f}"


def _seconds(facts: VideoFacts, frame: int) -> float:
    return float(facts.pts[frame] * facts.time_base)


def test_sound_covers_the_film_and_is_not_clipped(name: str, made: Made) -> None:
    for rendition in made.kind("audio"):
        start, wave = films.samples(made.store, PREFIX, rendition.name)
        assert start == 0 and abs(wave.shape[1] / 48000 - made.package.duration_s) <= 0.03
        assert np.isfinite(wave).all() and np.abs(wave).max() < 1.4


def test_sound_is_as_loud_as_the_sources_but_for_the_gain_that_the_report_tells(
    name: str, made: Made, facts: SourceFacts
) -> None:
    """Surround is mixed down, which changes how its channels add up; mono and stereo may not change otherwise."""
    indexes = finished_chunks(made.store, PREFIX)
    for track, rendition in zip(facts.audio, made.kind("audio")[::2], strict=True):
        (told,) = [i.loudness for (of, _), i in indexes.items() if of == rendition.name and i.loudness]
        assert sentence(track.index, told) in made.package.report["decisions"]
        _, wave = films.samples(made.store, PREFIX, rendition.name)
        ours, theirs = decibels(wave) - told.gain, decibels(heard(made.source, track.index, track.channels))
        slack = 1.0 if track.channels <= 2 else 6.0
        assert ours < QUIET if theirs < QUIET else abs(ours - theirs) <= slack, (ours, theirs)


def decibels(wave: NDArray[np.float32]) -> float:
    """Energy of a channel over the whole film: silence put around it adds none."""
    return 10 * float(np.log10(max(1e-9, float((wave.astype(np.float64) ** 2).sum() / len(wave)))))
