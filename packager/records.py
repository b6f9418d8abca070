"""Frozen dataclasses as JSON and back: plans, which the parent writes and its children read.

As Pydantic does it, to the byte, without Pydantic: each chunk is encoded by a new process, and importing it would cost each a tenth of
a second. Fields may be str, int, float, bool, Fraction (as "30000/1001"), tuples, other dataclasses, or one of these or None.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import is_dataclass
from fractions import Fraction
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def dump(value: Any) -> bytes:
    """A dataclass as JSON without spaces; fields in their order."""
    kind: Any = type(value)
    return json.dumps(_plain(kind)(value), ensure_ascii=False, separators=(",", ":")).encode()


def load(kind: type[T], data: bytes | str) -> T:
    """The dataclass that `dump` wrote. Fields it doesn't know are passed over. Raises ValueError when the text is no such thing."""
    hint: Any = kind
    try:
        made: T = _made(hint)(json.loads(data))
    except (TypeError, ZeroDivisionError, RecursionError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error
    return made


@cache
def _plain(hint: Any) -> Callable[[Any], Any]:
    """What turns a value of a field of this type into what JSON has."""
    if hint is Fraction:
        return str
    if hint is float:
        return float
    if is_dataclass(hint):
        fields = {name: _plain(of) for name, of in get_type_hints(hint).items()}
        return lambda value: {name: plain(getattr(value, name)) for name, plain in fields.items()}
    if get_origin(hint) is tuple:
        return _each(hint, _plain, list)
    if NoneType in get_args(hint):
        return _unless_none(hint, _plain)
    return lambda value: value


@cache
def _made(hint: Any) -> Callable[[Any], Any]:
    """The opposite; raises TypeError or ValueError for anything else."""
    if hint is Fraction:
        return lambda value: Fraction(_exactly(value, str, int))
    if hint is float:
        return lambda value: float(_exactly(value, float, int))
    if is_dataclass(hint):
        fields = {name: _made(of) for name, of in get_type_hints(hint).items()}
        return lambda found: hint(  # type: ignore[operator]  # a class, says is_dataclass of a type
            **{name: made(found[name]) for name, made in fields.items() if name in _exactly(found, dict)}
        )
    if get_origin(hint) is tuple:
        return _each(hint, _made, tuple)
    if NoneType in get_args(hint):
        return _unless_none(hint, _made)
    return lambda value: _exactly(value, hint)


def _each(hint: Any, one: Callable[[Any], Callable[[Any], Any]], collect: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """For `tuple[X, ...]` and for `tuple[X, Y, Z]`."""
    kinds = get_args(hint)
    if kinds[-1] is Ellipsis:
        each = one(kinds[0])
        return lambda values: collect(map(each, _exactly(values, list, tuple)))
    several = [one(kind) for kind in kinds]
    return lambda values: collect(
        each(value) for each, value in zip(several, _exactly(values, list, tuple), strict=True)
    )


def _unless_none(hint: Any, one: Callable[[Any], Callable[[Any], Any]]) -> Callable[[Any], Any]:
    (kind,) = (kind for kind in get_args(hint) if kind is not NoneType)
    some = one(kind)
    return lambda value: None if value is None else some(value)


def _exactly(value: Any, *kinds: type) -> Any:
    """A bool is no number here."""
    if type(value) not in kinds:
        raise TypeError(f"{value!r:.80} where {' or '.join(kind.__name__ for kind in kinds)} was due")
    return value
