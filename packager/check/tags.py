"""Lines, tags and attribute lists of a playlist (RFC 8216 §4.1, §4.2), read strictly and without the `m3u8` package: a checker that parsed with
the library that wrote the text would share its faults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s]+)(?:,|$)')


@dataclass(frozen=True, slots=True)
class Line:
    """A tag with its value, or a URI (`tag` is empty). `number` counts from 1."""

    number: int
    tag: str
    value: str


def lines(text: str) -> Iterator[Line]:
    """Tags and URIs in order; comments and blank lines are passed over."""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("#EXT"):
            tag, _, value = line.partition(":")
            yield Line(number, tag, value)
        elif line and not line.startswith("#"):
            yield Line(number, "", line)


def attributes(value: str) -> dict[str, str]:
    """An attribute list; quoted strings lose their quotes. Raises ValueError on bad syntax or a name that comes twice."""
    found: dict[str, str] = {}
    at = 0
    while at < len(value):
        match = _ATTRIBUTE.match(value, at)
        if match is None or (match.end() == len(value) and value.endswith(",")):
            raise ValueError(f"the attribute list is malformed at «{value[at : at + 30]}»")
        name, raw = match.groups()
        if name in found:
            raise ValueError(f"{name} comes twice")
        found[name] = raw.strip('"')
        at = match.end()
    return found
