"""Grids, segments and chunks for every kind of time stamps; the properties are what the playlists' rules need."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager import timeline
from packager.facts import Colour, VideoFacts
from packager.timeline import Chunk, Grid, chunks, constant_rate, grid, natural, seek_point

RATES = st.sampled_from(
    [*timeline.NATURAL_RATES, Fraction(240), Fraction(37, 2), Fraction(1), Fraction(1, 3), Fraction(7, 10)]
)
BASES = st.sampled_from([Fraction(1, 90000), Fraction(1, 1000), Fraction(1, 12800)])
GAPS_MS = st.lists(st.integers(1, 9000) | st.sampled_from([8, 16, 33, 40, 1999, 2000, 2001]), min_size=0, max_size=60)


def video(
    times: list[Fraction],
    base: Fraction = Fraction(1, 90000),
    rate: Fraction = Fraction(30),
    keys: int = 10,
    interlaced: bool = False,
) -> VideoFacts:
    """Facts of a track with frames at `times` seconds, every `keys`-th a key frame."""
    pts = sorted({round(time / base) for time in times})
    last = max(1, round(1 / rate / base))
    grey = Colour(2, 2, 2, False)
    return VideoFacts(
        0, "h264", 64, 36, Fraction(1), 0, "yuv420p", interlaced, grey, rate, base, tuple(pts), tuple(pts[::keys]), last
    )  # fmt: skip


def steady(
    rate: Fraction, frames: int, start: Fraction = Fraction(0), base: Fraction = Fraction(1, 90000)
) -> VideoFacts:
    return video([start + n / rate for n in range(frames)], base, rate)


def laid(facts: VideoFacts, before: Fraction = Fraction(0), after: Fraction = Fraction(0)) -> Grid:
    """The grid of a film that starts `before` seconds before the picture and ends `after` seconds after it."""
    return grid(facts, facts.start - before, facts.end + after)


def assert_sound(made: Grid) -> None:
    """What every grid must be, whatever it was made from."""
    times = [made.time(slot) for slot in range(made.count + 1)]
    assert times[0] == 0 and times[-1] == made.end
    assert all(a < b for a, b in pairwise(times)), "slots are strictly increasing"
    assert made.keys[0] == made.segments[0] == 0
    assert set(made.segments) <= set(made.keys) and list(made.keys) == sorted(set(made.keys))
    cuts = [Fraction(made.time(slot), made.timescale) for slot in made.segments] + [Fraction(made.end, made.timescale)]
    assert all(b - a < timeline.LONGEST_SEGMENT_S for a, b in pairwise(cuts)), "no segment rounds to more than 6 s"
    keys = [Fraction(made.time(slot), made.timescale) for slot in made.keys] + [Fraction(made.end, made.timescale)]
    assert all(b - a <= Fraction(23, 10) for a, b in pairwise(keys))
    assert made.rate <= 60


@given(RATES, st.integers(1, 400), BASES, st.integers(0, 5000))
def test_every_steady_film_has_a_sound_grid(rate: Fraction, frames: int, base: Fraction, start_ms: int) -> None:
    facts = steady(rate, frames, Fraction(start_ms, 1000), base)
    assert_sound(laid(facts))


@given(GAPS_MS, st.integers(0, 3000), st.integers(0, 9000))
def test_every_irregular_film_has_a_sound_grid(gaps: list[int], before_ms: int, after_ms: int) -> None:
    times = [Fraction(sum(gaps[:n]), 1000) for n in range(len(gaps) + 1)]
    assert_sound(laid(video(times, Fraction(1, 1000)), Fraction(before_ms, 1000), Fraction(after_ms, 1000)))


@given(st.sampled_from([r for r in timeline.NATURAL_RATES if 4 <= r <= 60]), st.integers(2, 900))
def test_a_steady_film_keeps_its_frames_and_has_an_idr_every_round_of_two_fps(rate: Fraction, frames: int) -> None:
    made = laid(steady(rate, frames))
    count = (
        frames + frames % 2 if rate > 30 else frames
    )  # half-rate rungs show two slots with each frame, the last one too
    assert (made.count, made.rate) == (count, rate)
    assert made.keys == tuple(range(0, count, round(2 * rate)))
    assert made.end == count * made.frame


@given(st.sampled_from([Fraction(48), Fraction(50), Fraction(60000, 1001), Fraction(60), Fraction(120), Fraction(100)]))
def test_half_rate_rungs_find_all_key_frames_on_even_slots(rate: Fraction) -> None:
    assert all(slot % 2 == 0 for slot in laid(steady(rate, 700)).keys)


def test_a_film_of_120_fps_is_shown_at_60() -> None:
    assert laid(steady(Fraction(120), 600)).rate == 60


def test_a_film_of_100_fps_is_shown_at_50() -> None:
    assert laid(steady(Fraction(100), 500)).rate == 50


def test_an_interlaced_film_is_shown_at_its_field_rate() -> None:
    facts = video([Fraction(n, 25) for n in range(50)], rate=Fraction(25), interlaced=True)
    assert constant_rate(facts) == 50


@pytest.mark.parametrize("rate", [Fraction(1), Fraction(1, 10), Fraction(3, 4), Fraction(13, 10), Fraction(23, 10)])
def test_slow_pictures_are_repeated_so_that_segments_keep_their_length(rate: Fraction) -> None:
    made = laid(steady(rate, 40))
    assert made.rate >= 4 and (made.rate / rate).denominator == 1
    assert_sound(made)


def test_two_frames_an_hour_apart_are_no_division_by_zero() -> None:
    assert_sound(laid(video([Fraction(0), Fraction(3600)])))


def test_milliseconds_of_a_short_clip_still_mean_thirty_frames_a_second() -> None:
    """Matroska rounds to milliseconds, so the mean over eleven frames is no customary rate; the container's own figure is."""
    facts = video([Fraction(n, 30) for n in range(11)], Fraction(1, 1000), Fraction(30))
    assert constant_rate(facts) == 30


def test_ntsc_is_not_mistaken_for_thirty() -> None:
    facts = video([n * Fraction(1001, 30000) for n in range(3000)], rate=Fraction(30))
    assert constant_rate(facts) == Fraction(30000, 1001)


def test_one_missing_frame_makes_the_rate_variable() -> None:
    assert constant_rate(video([Fraction(n, 30) for n in range(90) if n != 40])) is None


def test_a_variable_film_keeps_every_frame_time() -> None:
    times = [Fraction(ms, 1000) for ms in (0, 33, 120, 200, 525, 560, 900)]
    made = laid(video(times, Fraction(1, 1000)))
    assert [Fraction(t, made.timescale) for t in made.times] == times


def test_a_variable_film_of_more_than_sixty_frames_a_second_is_thinned() -> None:
    times = [Fraction(5 * n + 3 * (n % 2), 1000) for n in range(1000)]
    made = laid(video(times, Fraction(1, 1000)))
    assert made.frame == 0 and 45 <= made.count / Fraction(made.end, made.timescale) <= Fraction(602, 10)


def test_a_still_stretch_gets_key_frames_where_segments_need_them() -> None:
    times = [Fraction(n, 30) for n in range(20)] + [Fraction(100)]
    made = laid(video(times))
    assert_sound(made)
    near = [Fraction(made.time(slot), made.timescale) / 2 % 1 for slot in made.keys]
    assert all(min(off, 1 - off) <= Fraction(1, 20) for off in near)


def test_late_pictures_still_cover_the_film_from_its_start() -> None:
    made = laid(steady(Fraction(25), 50), before=Fraction(2))
    assert made.time(0) == 0 and Fraction(made.end, made.timescale) == 4


def test_a_single_frame_is_a_film() -> None:
    made = laid(steady(Fraction(30), 1))
    assert (made.count, made.keys, made.segments) == (1, (0,), (0,))


def test_one_picture_under_a_long_song_is_few_frames() -> None:
    made = laid(steady(Fraction(30), 1), after=Fraction(300))
    assert_sound(made)
    assert made.rate <= 4


@given(st.integers(1, 29))
def test_a_film_under_a_second_is_one_segment(frames: int) -> None:
    assert laid(steady(Fraction(30), frames)).segments == (0,)


@given(st.integers(180, 400))
def test_a_short_tail_joins_the_last_segment(frames: int) -> None:
    made = laid(steady(Fraction(30), frames))
    lengths = [b - a for a, b in pairwise([*made.segments, made.count])]
    assert lengths[-1] >= 12, "a tail under 0.4 s is no segment of its own"


@given(RATES, st.integers(1, 2000), st.integers(1, 6), st.integers(0, 100))
def test_chunks_cover_all_slots_once_in_whole_segments_and_none_is_longer_than_all_before_it(
    rate: Fraction, frames: int, size: int, start: int
) -> None:
    facts = steady(rate, frames, Fraction(start))
    made = laid(facts)
    parts = chunks(made, facts, facts.start, segments_per_chunk=size)
    firsts = [part.segment for part in parts]
    lengths = [b - a for a, b in pairwise([*firsts, len(made.segments)])]
    assert firsts[0] == 0 and lengths[0] == 1
    assert all(0 < length <= min(size, first) for first, length in list(zip(firsts, lengths, strict=True))[1:])
    assert all(length == min(size, first) for first, length in list(zip(firsts, lengths, strict=True))[1:-1])
    assert [part.first for part in parts] == [made.segments[first] for first in firsts]
    assert [part.last for part in parts] == [*[part.first for part in parts[1:]], made.count]
    assert [part.number for part in parts] == list(range(len(parts)))


@given(RATES, st.integers(30, 1500), st.integers(1, 100), st.integers(0, 100))
def test_a_chunk_is_decoded_from_a_key_frame_not_after_what_it_shows_first(
    rate: Fraction, frames: int, gap: int, start: int
) -> None:
    facts = video([Fraction(start) + n / rate for n in range(frames)], rate=rate, keys=gap)
    made = laid(facts)
    for chunk in chunks(made, facts, facts.start, segments_per_chunk=1):
        assert chunk.seek in facts.key_pts
        shown = facts.start + Fraction(made.time(chunk.first) + made.tolerance, made.timescale)
        assert chunk.seek * facts.time_base <= shown


def test_without_any_key_frame_decoding_starts_at_the_first_frame() -> None:
    facts = video([Fraction(n, 30) for n in range(9)], keys=100)
    bare = VideoFacts(**{**{name: getattr(facts, name) for name in VideoFacts.__slots__}, "key_pts": ()})
    assert seek_point(bare, Fraction(1)) == facts.pts[0]


def test_a_seek_point_before_zero_is_not_rounded_up_past_the_start() -> None:
    facts = video([Fraction(n - 100, 30) for n in range(90)], Fraction(1, 1000), keys=1)
    for start in (Fraction(-5, 3), Fraction(-1, 1), Fraction(-1, 7)):
        assert seek_point(facts, start) * facts.time_base <= start


@given(GAPS_MS, st.sampled_from([1, 2]))
def test_the_reorder_delay_covers_two_steps_anywhere(gaps: list[int], step: int) -> None:
    """Decode times are the sorted presentation times, so a packet may be shown two steps after the slot it is decoded in."""
    made = laid(video([Fraction(sum(gaps[:n]), 1000) for n in range(len(gaps) + 1)], Fraction(1, 1000)))
    spread = timeline.REORDER * step
    assert all(made.time(slot + spread) - made.time(slot) <= made.delay(step) for slot in range(made.count))


def test_customary_rates_are_recognised() -> None:
    assert natural(Fraction(29970, 1000)) == Fraction(30000, 1001)
    assert natural(Fraction(2997003, 100000)) == Fraction(30000, 1001)
    assert natural(Fraction(25001, 1000)) == 25
    assert natural(Fraction(1, 100000)) > 0


def test_chunks_are_plain_values() -> None:
    assert Chunk(0, 0, 90, 0, 0) == Chunk(0, 0, 90, 0, 0)
