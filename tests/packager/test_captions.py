"""Subtitles: what may stand in a cue, and that each segment has the cues a viewer needs."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from packager import captions
from packager.captions import plain, segments

CUTS = [Fraction(n * 6) for n in range(4)]
TIMING = re.compile(r"(\d\d):(\d\d):(\d\d)\.(\d{3}) --> (\d\d):(\d\d):(\d\d)\.(\d{3})")
CUES = st.lists(st.tuples(st.floats(-5, 30), st.floats(-5, 30), st.text(min_size=0, max_size=40)), max_size=12)


def timings(text: str) -> list[tuple[int, int]]:
    found = [tuple(map(int, match.groups())) for match in TIMING.finditer(text)]
    return [
        (((h * 60 + m) * 60 + s) * 1000 + ms, ((eh * 60 + em) * 60 + es) * 1000 + ems)
        for h, m, s, ms, eh, em, es, ems in found
    ]


def test_a_cue_stands_in_every_segment_it_touches() -> None:
    first, second, third = segments([(5.0, 7.0, "over the cut")], CUTS, Fraction(0))
    assert "over the cut" in first and "over the cut" in second and "over the cut" not in third


def test_a_cue_that_ends_on_a_cut_is_not_in_the_next_segment() -> None:
    first, second, _ = segments([(5.0, 6.0, "before")], CUTS, Fraction(0))
    assert "before" in first and "before" not in second


def test_times_count_from_the_start_of_the_film() -> None:
    assert "00:00:01.500 --> 00:00:02.250" in segments([(11.5, 12.25, "x")], CUTS, Fraction(10))[0]


def test_every_segment_maps_its_clock_even_when_it_is_empty() -> None:
    assert segments([], CUTS, Fraction(0)) == [captions.HEADER] * 3


def test_a_cue_without_length_is_left_out() -> None:
    assert segments([(1.0, 1.0, "x"), (2.0, 2.0001, "y"), (3.0, 2.0, "z")], CUTS, Fraction(0))[0] == captions.HEADER


def test_markup_becomes_text() -> None:
    assert (
        plain("<script>alert(1)</script> & --> <b>") == "&lt;script&gt;alert(1)&lt;/script&gt; &amp; --&gt; &lt;b&gt;"
    )


def test_orders_to_a_renderer_are_not_read_out() -> None:
    assert plain("{\\an8}up {there} {\\i1}now{\\i0}") == "up {there} now"


def test_blank_lines_and_control_characters_cannot_end_a_cue() -> None:
    assert plain("a\n\n\r\n \x00b\x0b\x85c\\N\\Nd") == "a\nb\nc\nd"


def test_what_a_script_needs_to_be_read_is_kept() -> None:
    persian, french, family = "می\N{ZERO WIDTH NON-JOINER}خواهم", "Quoi\N{NO-BREAK SPACE}!", "👨\N{ZERO WIDTH JOINER}👩"
    assert [plain(text) for text in (persian, french, family)] == [persian, french, family]


@given(CUES, st.integers(-3, 3))
def test_any_cues_give_webvtt_that_parses_and_whose_cues_touch_their_segment(
    cues: list[tuple[float, float, str]], origin: int
) -> None:
    for text, (start, end) in zip(segments(cues, CUTS, Fraction(origin)), pairwise(CUTS), strict=True):
        assert text.startswith("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n")
        head, *blocks = text.rstrip("\n").split("\n\n")
        assert head.count("\n") == 1
        for block in blocks:  # a cue is a timing line and at least one line of text
            assert TIMING.fullmatch(block.split("\n")[0]) and len(block.split("\n")) >= 2
        assert len(blocks) == len(timings(text)) == text.count("-->")
        for first, last in timings(text):
            assert first < last and first < end * 1000 and last > start * 1000


@given(st.text(max_size=200))
def test_cue_text_never_holds_an_arrow_a_tag_or_an_empty_line(text: str) -> None:
    made = plain(text)
    assert "-->" not in made and "<" not in made and "\n\n" not in made
    assert not made.startswith("\n") and not made.endswith("\n")


def test_endless_cues_cannot_blow_up_a_long_film() -> None:
    """10,000 cues that last a whole day, in 14,400 segments, would be gigabytes."""
    cues = [(float(n), 90_000.0, "x" * 100) for n in range(10_000)]
    cuts = [Fraction(n * 6) for n in range(14_401)]
    made = segments(cues, cuts, Fraction(0))
    assert max(map(len, made)) < 2 * captions.SEGMENT_TEXT + 10_000
    assert sum(map(len, made)) < 200_000_000
