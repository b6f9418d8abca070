"""The demo film says which frame each picture is and beeps when it flashes; else it could not show a sync error."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from samples.make import BAND, BEEP_HZ, RATE, read_frame_number
from tests.servers import ROOT


def test_every_picture_tells_its_number(sample_film: Path) -> None:
    assert [_number(frame) for frame in _pictures(sample_film)] == list(range(12 * 30))


def test_the_number_survives_a_small_size(sample_film: Path) -> None:
    small = (frame.reformat(width=160, height=90) for frame in _pictures(sample_film))
    assert [_number(frame) for frame in small] == list(range(12 * 30))


def test_a_picture_without_the_strip_has_no_number() -> None:
    assert read_frame_number(bytes(160 * 90), 160, 90, 160) is None


def test_the_band_is_white_while_the_beep_sounds(sample_film: Path) -> None:
    flashes = [float(frame.time or 0) for frame in _pictures(sample_film) if _band(frame) > 200]
    beeps = _beeps(sample_film)
    assert flashes == pytest.approx([second + late for second in range(12) for late in (0, 1 / 30)])
    # 5 ms windows, and AAC smears what precedes a beep a little.
    assert len(beeps) == 12
    assert beeps == pytest.approx(list(range(12)), abs=0.03)


def test_size_rate_and_length_can_be_chosen(tmp_path: Path) -> None:
    out = tmp_path / "small.mp4"
    make = [sys.executable, str(ROOT / "samples" / "make.py"), "--out", str(out)]
    subprocess.run([*make, "--seconds", "2", "--size", "320x180", "--fps", "24000/1001"], check=True)
    with av.open(str(out)) as film:
        video = film.streams.video[0]
        assert (video.width, video.height, video.average_rate) == (320, 180, Fraction(24000, 1001))
        assert video.frames == 48


def _pictures(film: Path) -> list[VideoFrame]:
    with av.open(str(film)) as container:
        return list(container.decode(video=0))


def _number(frame: VideoFrame) -> int | None:
    luma = frame.planes[0]
    return read_frame_number(bytes(luma), frame.width, frame.height, luma.line_size)


def _band(frame: VideoFrame) -> float:
    luma = frame.planes[0]
    rows = np.frombuffer(bytes(luma), np.uint8).reshape(-1, luma.line_size)
    return float(rows[frame.height - int(frame.height * BAND) : frame.height].mean())


def _beeps(film: Path) -> list[float]:
    """Where the energy at 1 kHz rises, in seconds."""
    with av.open(str(film)) as container:
        frames: list[AudioFrame] = list(container.decode(audio=0))
    left = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    window = RATE // 200
    blocks = left[: len(left) // window * window].reshape(-1, window)
    tone = np.exp(-2j * np.pi * BEEP_HZ * np.arange(window) / RATE)
    loud = np.abs(blocks @ tone) / window > 0.1
    rises = [at for at in range(len(loud)) if loud[at] and not (at and loud[at - 1])]
    start = float(frames[0].time or 0)
    return [start + at * window / RATE for at in rises]
