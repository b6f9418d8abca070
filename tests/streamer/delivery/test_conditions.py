"""Conditional requests in the order of RFC 9110 §13.2.2."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.delivery.conditions import failing, http_date, range_holds

ETAG = b'"abc"'
MODIFIED = datetime(2026, 3, 1, 12, 0, 0, 654321, tzinfo=UTC)
SAME, EARLIER, LATER = (http_date(MODIFIED + timedelta(seconds=s)) for s in (0, -1, 1))


def status(**headers: bytes) -> int | None:
    return failing({name.replace("_", "-").encode(): value for name, value in headers.items()}, ETAG, MODIFIED)


def test_dates_are_written_as_http_wants_them() -> None:
    assert SAME == b"Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize("tags", [ETAG, b'"x", "abc"', b"*", b'W/"abc"', b' "abc" '])
def test_a_tag_the_client_has_is_not_modified(tags: bytes) -> None:
    assert status(if_none_match=tags) == 304


@pytest.mark.parametrize("tags", [b'"x"', b"abc", b"", b'"ABC"', b'"abc', b'W/"x"'])
def test_other_tags_mean_the_object_is_sent(tags: bytes) -> None:
    assert status(if_none_match=tags) is None


def test_a_date_decides_only_without_a_tag() -> None:
    assert status(if_modified_since=SAME) == status(if_modified_since=LATER) == 304
    assert status(if_modified_since=EARLIER) is None
    assert status(if_modified_since=LATER, if_none_match=b'"x"') is None


@pytest.mark.parametrize(
    "date", [b"", b"yesterday", b"\xff", b"Sun, 01 Mar 99999 12:00:00 GMT", b"Fri, 31 Dec 9999 23:59:59 -2359"]
)
def test_dates_that_cannot_be_read_are_ignored(date: bytes) -> None:
    assert status(if_modified_since=date) is None
    assert status(if_unmodified_since=date) is None


def test_if_match_wants_the_very_object_and_no_weak_likeness() -> None:
    assert status(if_match=ETAG) is None
    assert status(if_match=b"*") is None
    assert status(if_match=b'"x"') == 412
    assert status(if_match=b'W/"abc"') == 412


def test_if_unmodified_since_counts_only_without_if_match() -> None:
    assert status(if_unmodified_since=EARLIER) == 412
    assert status(if_unmodified_since=SAME) is None
    assert status(if_unmodified_since=EARLIER, if_match=ETAG) is None


def test_a_precondition_comes_before_not_modified() -> None:
    assert status(if_match=b'"x"', if_none_match=ETAG) == 412
    assert status(if_match=ETAG, if_none_match=ETAG) == 304


@pytest.mark.parametrize(
    ("known", "holds"),
    [(ETAG, True), (SAME, True), (b'"x"', False), (b'W/"abc"', False), (EARLIER, False), (LATER, False), (b"?", False)],
)
def test_a_part_is_sent_only_of_the_object_the_client_began_with(known: bytes, holds: bool) -> None:
    assert range_holds({b"if-range": known}, ETAG, MODIFIED) is holds


def test_without_if_range_a_part_is_a_part() -> None:
    assert range_holds({}, ETAG, MODIFIED)


@given(st.binary(max_size=60))
def test_no_header_breaks_it(value: bytes) -> None:
    for name in (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"):
        assert failing({name: value}, ETAG, MODIFIED) in (None, 304, 412)
    range_holds({b"if-range": value}, ETAG, MODIFIED)
