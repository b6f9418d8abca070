"""How an encode is shared out: runs of chunks cover the film once, and encoder threads follow the cores."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager import chunk, ladder, workload
from packager.facts import Colour
from packager.plan import VideoPlan
from packager.timeline import Chunk, Grid

RATE = 30


def plan(segments: list[int]) -> VideoPlan:
    """Of a 1080p film whose chunks have so many segments of 6 s."""
    slots = 6 * RATE
    starts = [sum(segments[:number]) for number in range(len(segments) + 1)]
    end = starts[-1] * slots
    grid = Grid(RATE * 1000, 1000, (), end, end * 1000, tuple(range(0, end, slots // 3)), tuple(range(0, end, slots)))
    chunks = tuple(
        Chunk(number, first * slots, last * slots, first, 0)
        for number, (first, last) in enumerate(zip(starts, starts[1:], strict=False))
    )
    colour = Colour(1, 1, 1, False)
    rungs = ladder.rungs(1920, 1080, Fraction(RATE))
    return VideoPlan(0, Fraction(0), 1920, 1080, 0, False, colour, 100.0, colour, grid, rungs, chunks)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=50))
def test_runs_are_all_chunks_in_order_and_all_but_the_last_are_long_enough(segments: list[int]) -> None:
    made = plan(segments)
    runs = list(workload.runs(made))
    assert [chunk for run in runs for chunk in run] == list(made.chunks)
    for run in runs[:-1]:
        assert sum(segments[chunk.number] for chunk in run) * 6 >= workload.RUN_S
        assert sum(segments[chunk.number] for chunk in run[:-1]) * 6 < workload.RUN_S


@given(st.lists(st.integers(1, 12), min_size=1, max_size=50))
def test_shared_runs_are_all_chunks_in_order_and_get_shorter(segments: list[int]) -> None:
    made = plan(segments)
    runs = list(workload.runs(made, shared=True))
    assert [chunk for run in runs for chunk in run] == list(made.chunks)
    assert len(runs) >= len(list(workload.runs(made)))
    for number, run in enumerate(runs):
        left = sum(segments[chunk.number] for later in runs[number:] for chunk in later) * 6
        assert sum(segments[chunk.number] for chunk in run[:-1]) * 6 < min(workload.RUN_S, left / workload.SHARES)


def test_the_cost_of_all_places_is_the_pictures_share_of_the_total() -> None:
    made = plan([1, 1, 2, 4])
    places = {(rung.name, chunk.number) for rung in made.rungs for chunk in made.chunks}
    everything = sum(rung.width * rung.height for rung in made.rungs) * 8 * 6
    assert workload.cost(made, places) == pytest.approx(everything)
    kept = replace(made, rungs=(replace(made.rungs[0], passthrough=True), *made.rungs[1:]))
    assert workload.cost(kept, places) < 0.7 * everything


@pytest.mark.parametrize(("cores", "alone", "beside_others"), [(1, 2, 1), (2, 3, 1), (4, 6, 2), (6, 6, 3)])
def test_a_rung_has_threads_for_its_share_of_the_cores(cores: int, alone: int, beside_others: int) -> None:
    rungs = ladder.rungs(1920, 1080, Fraction(RATE))
    assert chunk.encoder_threads(rungs[0], rungs[:1], cores) == alone
    assert chunk.encoder_threads(rungs[0], rungs, cores) == beside_others
    assert chunk.encoder_threads(rungs[-1], rungs, 6) == 1


def test_threads_work_on_whole_frames_because_slices_cost_bits() -> None:
    made = plan([1])
    codec = chunk._codec(made.rungs[0], made, 3)
    picture = av.VideoFrame(codec.width, codec.height, "yuv420p")
    picture.pts = 0
    settings = b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)])
    assert b"sliced_threads=0" in settings + (codec.extradata or b"")


def test_a_preset_that_was_asked_for_is_taken_as_it_is() -> None:
    ours = ladder.rungs(1920, 1080, Fraction(RATE))[0]
    asked = chunk.options(replace(ours, preset="veryfast"))
    assert asked["preset"] == "veryfast" and float(asked["crf"]) == ours.crf and "bframes" not in asked["x264-params"]
    assert float(chunk.options(ours)["crf"]) == ours.crf + chunk.CRF_OFFSET
