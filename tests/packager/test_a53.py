"""Caption data in packets: found, read, taken out, and never trusted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager import a53, mp4_index
from packager.a53 import CaptionData, escaped, unescaped, without_captions
from packager.probe import probe
from packager.tracks import demuxed
from tests.packager import captioned, films
from tests.packager.captioned import OTHER_MESSAGE, cc_data, sei
from tests.packager.films import Film

HELLO = (0x48, 0x69)
MESSAGE = b"\xb5\x00\x31GA94"


def heard(head: bytes, codec: str = "h264") -> CaptionData:
    data = CaptionData(codec)
    data.look(7, head)
    return data


def test_a_pair_is_found_with_its_field_and_without_its_parity() -> None:
    for field in (0, 1):
        data = heard(b"before" + sei(cc_data(HELLO, field)) + b"behind")
        assert data.pairs == [(7, field, bytes(HELLO))] and data.present and not data.digital


def test_padding_says_that_there_are_captions_but_nothing_more() -> None:
    data = heard(sei(cc_data()))
    assert data.present and data.pairs == []


def test_service_data_of_the_newer_kind_are_noticed() -> None:
    data = heard(sei(b"\x03\x42\xff\xff\x02\x21\xfe\x41\x00\xff"))
    assert data.digital and data.pairs == []


def test_pairs_that_are_not_valid_or_were_damaged_on_the_way_are_left_out() -> None:
    marked_invalid = b"\x03\x41\xff\xf8\xc8\xe9\xff"
    wrong_parity = b"\x03\x41\xff\xfc\x48\xe9\xff"
    switched_off = b"\x03\x01\xff\xfc\xc8\xe9\xff"
    for data in (marked_invalid, wrong_parity, switched_off):
        assert heard(sei(data)).pairs == []


def test_escapes_inside_the_data_are_undone_where_the_codec_has_them() -> None:
    plain = b"\x03\x42\xff\x00\x00\x00\xfc\xc8\xe9\xff"
    assert heard(sei(escaped(plain))).pairs == heard(MESSAGE + plain, "mpeg2video").pairs == [(7, 0, bytes(HELLO))]


def test_both_fields_of_a_picture_may_bring_theirs() -> None:
    assert len(heard(sei(cc_data(HELLO)) + b"slice" + sei(cc_data(HELLO))).pairs) == 2


def test_how_many_pairs_are_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(a53, "MAX_PAIRS", 3)
    assert len(heard(sei(cc_data(HELLO)) * 9).pairs) == 3


@given(st.binary(max_size=300), st.sampled_from(["h264", "mpeg2video"]))
def test_garbage_behind_the_mark_does_no_harm(garbage: bytes, codec: str) -> None:
    heard(MESSAGE + b"\x03" + garbage, codec)
    heard(MESSAGE + b"\x03\x5f\xff" + garbage, codec)


def test_other_messages_of_the_same_unit_are_kept() -> None:
    assert without_captions(sei(cc_data(HELLO))) == b"\x06" + OTHER_MESSAGE + b"\x80"
    assert without_captions(sei(cc_data(HELLO), other=b"")) == b""


def test_a_unit_without_captions_is_kept_to_the_byte() -> None:
    assert without_captions(b"\x06" + OTHER_MESSAGE + b"\x80") == b"\x06" + OTHER_MESSAGE + b"\x80"
    broken = b"\x06\x05\xff\xff"
    assert without_captions(broken) == broken


def test_captions_in_a_unit_that_is_cut_short_go_with_it() -> None:
    whole = sei(cc_data(HELLO), other=b"")
    for end in range(whole.index(b"GA94") + 4, len(whole)):
        assert b"GA94" not in without_captions(whole[:end])


def test_what_is_kept_is_escaped_again() -> None:
    other = b"\x05\x05\x00\x00\x01\x00\x00"
    kept = without_captions(b"\x06" + escaped(sei(cc_data(HELLO), other=other)[1:]))
    assert kept == b"\x06\x05\x05\x00\x00\x03\x01\x00\x00\x80"


@given(st.binary(max_size=200))
def test_any_unit_loses_its_captions_without_an_error(data: bytes) -> None:
    without_captions(b"\x06" + data)
    without_captions(b"\x06" + data + MESSAGE + data)


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, 255]), max_size=40))
def test_escaping_is_undone_and_leaves_no_start_code(codes: list[int]) -> None:
    data = bytes(codes)
    assert unescaped(escaped(data)) == data
    assert not any(escaped(data)[at : at + 3] in (b"\0\0\0", b"\0\0\1", b"\0\0\2") for at in range(len(data)))


def test_an_mp4s_index_gives_the_same_pairs_as_reading_it_through(tmp_path: Path) -> None:
    made = Film(seconds=6, sounds=())
    path = captioned.film(tmp_path / "film.mp4", captioned.pop_on((140, 170, "late")), made)
    indexed = mp4_index.read(str(path), lambda: None)
    with mp4_index.open_source(str(path)) as container:
        read = demuxed(container, lambda: None)
    assert indexed and indexed[0].captions and read[0].captions
    assert indexed[0].captions.pairs == read[0].captions.pairs != []


def test_a_film_without_captions_has_no_text_and_no_note(tmp_path: Path) -> None:
    for name in ("film.mp4", "film.ts"):
        facts = probe(str(films.make(tmp_path / name)))
        assert (facts.text, facts.notes) == ((), ())
