"""Language tags as players expect them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.languages import tag


@pytest.mark.parametrize(
    ("said", "tagged"),
    [
        ("eng", "en"), ("ger", "de"), ("deu", "de"), ("fre", "fr"), ("SWE", "sv"), ("en-US", "en-us"), ("gsw", "gsw"),
        (None, "und"), ("", "und"), ("und", "und"), ('"><x', "und"), ("e n", "und"), ("english language", "und"),
    ],
)  # fmt: skip
def test_three_letters_become_two_where_there_are_two(said: str | None, tagged: str) -> None:
    assert tag(said) == tagged


@given(st.text(max_size=20))
def test_a_tag_can_stand_in_a_playlist_whatever_the_file_says(said: str) -> None:
    assert all(part.isascii() and part.isalnum() for part in tag(said).split("-") if part)
    assert 2 <= len(tag(said)) <= 12
