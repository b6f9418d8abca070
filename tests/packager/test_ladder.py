"""Rungs are pure decisions; these are properties of all of them, and the examples people argue about."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager import ladder
from packager.ladder import rungs

SIDES = st.integers(2, 8192)
RATES = st.fractions(1, 60, max_denominator=1001)


@given(SIDES, SIDES, RATES, st.sampled_from([360, 720, 1080, 2160]))
def test_no_rung_is_larger_than_the_source(width: int, height: int, rate: Fraction, most: int) -> None:
    for rung in rungs(width, height, rate, max_short=most):
        assert rung.width <= width + 1 and rung.height <= height + 1, "a side may only grow to be even"
        assert min(rung.width, rung.height) <= most


@given(SIDES, SIDES, RATES)
def test_sizes_are_even_and_at_least_two(width: int, height: int, rate: Fraction) -> None:
    for rung in rungs(width, height, rate):
        assert rung.width % 2 == rung.height % 2 == 0 and min(rung.width, rung.height) >= 2


@given(SIDES, SIDES, RATES)
def test_the_aspect_is_kept_within_the_rounding_to_even(width: int, height: int, rate: Fraction) -> None:
    for rung in rungs(width, height, rate):
        if min(rung.width, rung.height) > 2:
            scale = Fraction(min(rung.width, rung.height), min(width, height))
            longer = max(width, height) * scale
            slack = 1 + Fraction(max(width, height), min(width, height))
            assert abs(max(rung.width, rung.height) - longer) <= slack


@given(SIDES, SIDES, RATES)
def test_rungs_fall_from_the_top_and_have_names_of_their_own(width: int, height: int, rate: Fraction) -> None:
    made = rungs(width, height, rate)
    assert len({rung.name for rung in made}) == len(made)
    assert [rung.width * rung.height for rung in made] == sorted((r.width * r.height for r in made), reverse=True)
    assert [rung.maxrate_kbps for rung in made] == sorted((r.maxrate_kbps for r in made), reverse=True)


@given(SIDES, SIDES, RATES)
def test_no_side_passes_what_decoders_take(width: int, height: int, rate: Fraction) -> None:
    assert all(max(rung.width, rung.height) <= ladder.LONGEST for rung in rungs(width, height, rate))


@given(st.integers(720, 4320), st.fractions(1, 3, max_denominator=100), RATES)
def test_an_hd_source_has_two_rungs_at_its_top_size(short: int, aspect: Fraction, rate: Fraction) -> None:
    made = rungs(round(short * aspect), short, rate, max_short=2160)
    assert (made[0].width, made[0].height) == (made[1].width, made[1].height)
    assert made[0].maxrate_kbps > made[1].maxrate_kbps


@given(st.integers(270, 4320), st.fractions(1, 3, max_denominator=100), RATES)
def test_there_is_a_rung_for_cellular_networks(short: int, aspect: Fraction, rate: Fraction) -> None:
    """Apple 9.21: with 48 kb/s of sound and a full buffer its peak is at most 192 kb/s."""
    lowest = rungs(round(short * aspect), short, rate)[-1]
    over_a_segment = lowest.maxrate_kbps + Fraction(lowest.bufsize_kbps, 6)
    assert over_a_segment + 48 <= 192


@given(SIDES, SIDES, RATES)
def test_only_small_rungs_of_fast_films_are_halved_and_never_below_thirty(
    width: int, height: int, rate: Fraction
) -> None:
    for rung in rungs(width, height, rate):
        assert rung.step == 1 or (rate > 30 and min(rung.width, rung.height) < 540)
        assert rate / rung.step >= min(rate, 15)


@pytest.mark.parametrize(
    ("size", "shorts"),
    [
        ((1920, 1080), [1080, 1080, 720, 540, 360, 234]),
        ((1080, 1920), [1080, 1080, 720, 540, 360, 234]),
        ((1280, 720), [720, 720, 540, 360, 234]),
        ((768, 432), [432, 360, 234]),
        ((640, 360), [360, 234]),
        ((320, 240), [240]),
        ((161, 121), [120]),
    ],
)
def test_the_usual_sizes_get_the_usual_rungs(size: tuple[int, int], shorts: list[int]) -> None:
    assert [min(rung.width, rung.height) for rung in rungs(*size, Fraction(30))] == shorts


def test_a_portrait_film_stays_upright() -> None:
    assert all(rung.height > rung.width for rung in rungs(1080, 1920, Fraction(30)))


def test_a_4k_film_is_limited_to_1080_unless_asked() -> None:
    assert rungs(3840, 2160, Fraction(30))[0].height == 1080
    assert rungs(3840, 2160, Fraction(30), max_short=2160)[0].height == 2160


def test_a_ladder_of_ones_own_aims_at_the_quality_of_the_reference() -> None:
    assert all(ladder.step(line.short, line.ceiling_kbps) == line for line in ladder.REFERENCE)
    assert [ladder.step(*own).crf for own in ((600, 2500), (1080, 7000))] == [23.0, 21.0]
