"""The Range header against RFC 9110 §14, and against slicing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.delivery.ranges import Unsatisfiable, select


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"bytes=0-499", (0, 500)),
        (b"bytes=500-999", (500, 500)),
        (b"bytes=-500", (9500, 500)),
        (b"bytes=9500-", (9500, 500)),
        (b"bytes=9500-123456", (9500, 500)),
        (b"bytes=-20000", (0, 10000)),
        (b"BYTES = 0-0", (0, 1)),
        (b" bytes=0-0 ", (0, 1)),
        (b"bytes= 0-0", (0, 1)),
    ],
)
def test_one_range_is_offset_and_length(header: bytes, expected: tuple[int, int]) -> None:
    assert select(header, 10000) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=-",
        b"bytes=a-b",
        b"bytes=5-1",
        b"bytes=--1",
        b"bytes=1--2",
        b"bytes=+1-2",
        b"bytes=1.0-2",
        b"bytes=0-1;q=1",
        b"lines=0-1",
        b"bytes=0-1,",
        b"bytes=0-1,x",
        b"bytes=0-" + b"9" * 30,
        "bytes=١-٢".encode(),
    ],
)
def test_what_cannot_be_read_is_ignored(header: bytes | None) -> None:
    assert select(header, 10000) is None


@pytest.mark.parametrize(
    "header", [b"bytes=0-1,5-6", b"bytes=0-0,-1", b"bytes=99999-,0-1", b"bytes=0-1" + b",0-1" * 100]
)
def test_several_ranges_mean_the_whole_object(header: bytes) -> None:
    assert select(header, 10000) is None


@pytest.mark.parametrize("header", [b"bytes=10000-", b"bytes=10000-10001", b"bytes=-0", b"bytes=10000-,20000-"])
def test_a_range_with_nothing_in_it_is_unsatisfiable(header: bytes) -> None:
    with pytest.raises(Unsatisfiable):
        select(header, 10000)


def test_nothing_of_an_empty_object_can_be_satisfied() -> None:
    for header in (b"bytes=0-", b"bytes=-1"):
        with pytest.raises(Unsatisfiable):
            select(header, 0)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_a_slice_is(size: int, first: int, last: int) -> None:
    body = bytes(range(size))
    expected = body[first : last + 1] if first <= last else None
    try:
        span = select(f"bytes={first}-{last}".encode(), size)
    except Unsatisfiable:
        assert expected == b""
    else:
        assert expected == (body[span[0] : span[0] + span[1]] if span else None)


@given(st.binary(max_size=40), st.integers(0, 100))
def test_no_header_breaks_it_or_leads_outside(header: bytes, size: int) -> None:
    try:
        span = select(b"bytes=" + header, size)
    except Unsatisfiable:
        return
    assert span is None or (0 <= span[0] and span[1] > 0 and sum(span) <= size)
