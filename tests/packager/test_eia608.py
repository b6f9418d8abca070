"""What a television set would show: each manner of writing, channels apart, and no byte that does harm."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from packager import eia608
from tests.packager.captioned import (
    ERASE,
    PAINT,
    RESUME,
    RETURN,
    ROLL_UP_2,
    ROW_14,
    ROW_15,
    SHOW,
    Pair,
    letters,
    pop_on,
    twice,
)


def shown(*pairs: Pair, field: int = 0, channel: int = 0, end: float = 100.0) -> list[tuple[float, float, str]]:
    """Cues of pairs that come one a second."""
    timed = [(float(second), bytes(pair)) for second, pair in enumerate(pairs)]
    return list(eia608.cues(timed, field, channel, end))


def texts(*pairs: Pair, field: int = 0, channel: int = 0) -> list[str]:
    return [text for _, _, text in shown(*pairs, field=field, channel=channel)]


def scheduled(made: dict[int, Pair], **which: int) -> list[tuple[float, float, str]]:
    timed = [(float(frame), bytes(pair)) for frame, pair in sorted(made.items())]
    return list(eia608.cues(timed, which.get("field", 0), which.get("channel", 0), 1000.0))


def on_channel_2(pairs: Sequence[Pair]) -> list[Pair]:
    return [(first | 8, second) if first < 0x20 else (first, second) for first, second in pairs]


def test_a_caption_made_unseen_is_shown_from_its_order_to_the_erasure() -> None:
    made = pop_on((50, 80, "one\ntwo"), (120, 150, "three"))
    assert scheduled(made) == [(50, 80, "one\ntwo"), (120, 150, "three")]


def test_a_caption_that_takes_anothers_place_ends_it() -> None:
    made = pop_on((50, 80, "one"), (120, 150, "two"))
    del made[80], made[81]
    assert scheduled(made) == [(50, 120, "one"), (120, 150, "two")]


def test_what_nobody_erases_is_shown_to_the_end() -> None:
    assert shown(RESUME, ROW_15, *letters("on"), SHOW, end=9.0) == [(3, 9, "on")]


def test_lines_that_push_each_other_up_are_seen_as_many_as_asked_for() -> None:
    lines = [pair for text in ("aa", "bb", "cc") for pair in (ROLL_UP_2, RETURN, ROW_15, *letters(text))]
    assert shown(*lines, end=20.0) == [(3, 5, "aa"), (5, 9, "aa\nbb"), (9, 20, "bb\ncc")]


def test_rolling_lines_may_stand_higher_up() -> None:
    assert texts(ROLL_UP_2, ROW_14, *letters("aa"), RETURN, ROW_15, *letters("bb")) == ["aa", "aa\nbb"]


def test_painted_letters_appear_with_the_first_and_go_with_the_erasure() -> None:
    assert shown(PAINT, ROW_15, *letters("paint"), ERASE) == [(2, 5, "paint")]


def test_a_new_painted_caption_is_a_new_cue() -> None:
    assert texts(PAINT, ROW_15, *letters("one "), ERASE, PAINT, ROW_15, *letters("two "), ERASE) == ["one", "two"]


def test_letters_outside_ascii_and_those_that_replace_a_plainer_one() -> None:
    pairs = [RESUME, ROW_15, *letters("é♪"), (0x41, 0), (0x12, 0x30), (0x4F, 0), (0x13, 0x32), SHOW]
    assert texts(*pairs) == ["é♪ÀÖ"]


def test_codes_come_twice_and_count_once() -> None:
    pairs = [*twice(RESUME, ROW_15), *letters("a♪"), (0x11, 0x37), *letters("bc"), (0x14, 0x21), (0x14, 0x21), SHOW]
    assert texts(*pairs) == ["a♪♪b"]


def test_steps_and_indents_and_styles_keep_words_apart() -> None:
    pairs = [RESUME, ROW_15, *letters("ab"), (0x17, 0x22), *letters("cd"), (0x11, 0x2E), *letters("ef"), SHOW]
    assert texts(*pairs) == ["ab cd ef"]


def test_the_rest_of_a_row_can_be_deleted() -> None:
    assert texts(RESUME, ROW_15, *letters("abcdef"), ROW_15, (0x17, 0x22), (0x14, 0x24), SHOW) == ["ab"]


def test_channels_of_a_field_are_kept_apart() -> None:
    first, second = [RESUME, ROW_15, *letters("first"), SHOW], [RESUME, ROW_15, *letters("other"), SHOW]
    both = [*first, *on_channel_2(second)]
    assert (texts(*both), texts(*both, channel=1)) == (["first"], ["other"])


def test_programme_data_between_captions_of_field_2_are_not_read_out() -> None:
    pairs = [RESUME, ROW_15, *letters("ab"), (0x01, 0x03), *letters("News"), (0x0F, 0x2A), RESUME, *letters("cd"), SHOW]
    assert texts(*pairs, field=1) == ["abcd"]


def test_text_pages_are_no_captions() -> None:
    assert texts((0x14, 0x2A), *letters("weather"), RESUME, ROW_15, *letters("said"), SHOW) == ["said"]


def test_letters_before_any_order_are_not_shown() -> None:
    assert texts(*letters("lost"), RESUME, SHOW) == []


PAIRS = st.tuples(st.integers(0, 127), st.integers(0, 127))
CODES = st.tuples(st.integers(0x10, 0x1F), st.integers(0, 127))


@given(st.lists(PAIRS | CODES, max_size=300), st.integers(0, 1), st.integers(0, 1))
def test_any_bytes_give_cues_in_order_that_fit_on_a_screen(pairs: list[Pair], field: int, channel: int) -> None:
    latest = 0.0
    for start, end, text in shown(*pairs, field=field, channel=channel, end=1000.0):
        assert latest <= start < end
        assert text.strip() and len(text.split("\n")) <= eia608.ROWS
        assert all(0 < len(line) <= eia608.COLUMNS for line in text.split("\n"))
        latest = end
