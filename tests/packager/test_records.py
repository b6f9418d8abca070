from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from packager import records
from packager.plan import Plan

F = Fraction


@dataclass(frozen=True)
class Part:
    name: str
    weight: float
    known: bool = True


@dataclass(frozen=True)
class Whole:
    count: int
    rate: Fraction
    parts: tuple[Part, ...]
    span: tuple[Fraction, float, str]
    best: Part | None
    limit: float | None


WHOLE = Whole(3, F(30000, 1001), (Part("a", 0.5), Part("b", 2, False)), (F(-1, 2), 1.5, "x"), None, -16.0)
TEXT = records.dump(WHOLE).decode()


def test_what_was_written_is_read_as_it_was() -> None:
    assert records.load(Whole, TEXT) == WHOLE
    assert '"rate":"30000/1001"' in TEXT and '"weight":2.0' in TEXT


texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.floats(min_value=0.001, max_value=1e9) | st.integers(-9, 9)
parts = st.builds(Part, texts, numbers, st.booleans())
wholes = st.builds(
    Whole,
    st.integers(-(1 << 62), 1 << 62),
    st.fractions(),
    st.lists(parts, max_size=3).map(tuple),
    st.tuples(st.fractions(), numbers, texts),
    st.none() | parts,
    st.none() | numbers,
)


@given(wholes)
@settings(max_examples=200)
def test_it_is_pydantics_to_the_byte(whole: Whole) -> None:
    """The names of packages that were made before depend on it."""
    data = TypeAdapter(Whole).dump_json(whole)
    assert records.dump(whole) == data
    assert records.load(Whole, data) == TypeAdapter(Whole).validate_json(data) == whole


def test_a_field_with_a_default_may_be_missing_and_an_unknown_one_is_passed_over() -> None:
    assert records.load(Part, '{"name": "a", "weight": 1, "colour": "red"}') == Part("a", 1.0)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"count":3', '"count":3.5'),
        ('"count":3', '"count":true'),
        ('"count":3,', ""),
        ('"30000/1001"', '"30000/0"'),
        ('"30000/1001"', '"fast"'),
        ('"30000/1001"', "[1]"),
        ('"name":"a"', '"name":7'),
        ('"known":true', '"known":1'),
        ('["-1/2",1.5,"x"]', '["-1/2",1.5]'),
        ('"best":null', '"best":"a"'),
        ("{", "["),
        (TEXT, "null"),
    ],
)
def test_anything_else_is_a_value_error(right: str, wrong: str) -> None:
    assert right in TEXT
    with pytest.raises(ValueError):
        records.load(Whole, TEXT.replace(right, wrong, 1))


def test_a_plan_is_among_what_can_be_written() -> None:
    plan = Plan(3, "ab", F(5), F(0), None, (), None, ("a note",))
    assert records.load(Plan, records.dump(plan)) == plan
    assert records.dump(plan) == TypeAdapter(Plan).dump_json(plan)
