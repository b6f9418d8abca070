"""Real HDR films against the ffmpeg program at their own size: what `test_media` can't see of a small rung, `test_tonemap` not of a pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager import pipeline
from packager.facts import VideoFacts
from tests.packager import films
from tests.packager.encoding import encode_file
from tests.packager.media import FOLDER, luma, ssim, tonemapped
from tests.packager.test_tonemap import SHARP


@pytest.mark.parametrize("name", ["hdr10-video-with-sdr-container.mp4", "unsupported-primary-audio.mov"])
def test_a_real_film_is_what_that_path_makes_of_it(name: str, tmp_path: Path) -> None:
    """One in PQ, one in HLG, made smaller before the tone mapping where the program does so after it."""
    made = encode_file(FOLDER / name, tmp_path, films.PLAIN, SHARP)
    facts = pipeline.probe(made.source).video
    assert facts
    seen = made.shown(made.kind("video")[0])
    looked = (seen[0], seen[len(seen) // 2])
    frames = [_frame(facts, shown.time) for shown in looked]
    height, width = seen[0].luma.shape
    right = luma(made.source, facts.index, frames, width, height, picture=f"{tonemapped(1000)},")
    for frame, ours, theirs in zip(frames, looked, right, strict=True):
        assert ssim(ours.luma, theirs) >= 0.98, f"frame {frame}: {ssim(ours.luma, theirs):.4f}"


def _frame(facts: VideoFacts, time: float) -> int:
    """The number of the source's picture at a time."""
    return sum(float((pts - facts.pts[0]) * facts.time_base) <= time + 0.004 for pts in facts.pts) - 1
