"""ISO base media boxes over bytes that may be hostile: every read is bounded by its box and ends in `Mp4Error`, never in an endless loop."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field


class Mp4Error(ValueError):
    """The bytes are no MP4 as this product understands it; the message says where."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box inside `data`: header at `start`, content in `[body, end)`."""

    kind: str
    start: int
    body: int
    end: int
    data: bytes = field(repr=False)

    def children(self, skip: int = 0) -> Iterator[Box]:
        """Boxes inside this one, after `skip` bytes of its own fields."""
        return _boxes(self.data, self.body + skip, self.end)

    def find(self, path: str, skip: int = 0) -> Box | None:
        """The first box at a path such as "mdia/minf/stbl"; `skip` belongs to this box alone."""
        head, _, rest = path.partition("/")
        found = next((child for child in self.children(skip) if child.kind == head), None)
        return found.find(rest) if found and rest else found

    def need(self, path: str, skip: int = 0) -> Box:
        found = self.find(path, skip)
        if found is None:
            raise Mp4Error(f"box {path} is missing in {self.kind}")
        return found

    def unpack(self, layout: str, at: int = 0) -> tuple[int, ...]:
        start = self.body + at
        if start + struct.calcsize(layout) > self.end:
            raise Mp4Error(f"box {self.kind} at byte {self.start} is cut short")
        return struct.unpack_from(layout, self.data, start)

    @property
    def payload(self) -> bytes:
        return self.data[self.body : self.end]


def root(data: bytes) -> Box:
    """A whole file as a box, so that its top level reads like any other."""
    return Box("file", 0, 0, len(data), data)


def _boxes(data: bytes, offset: int, end: int) -> Iterator[Box]:
    while offset < end:
        if offset + 8 > end:
            raise Mp4Error(f"{end - offset} stray bytes at byte {offset}")
        size, kind = struct.unpack_from(">I4s", data, offset)
        body = offset + 8
        if size == 1 and offset + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, offset + 8)
            body = offset + 16
        stop = end if size == 0 else offset + size
        if stop > end or stop < body:
            raise Mp4Error(f"box {kind!r} at byte {offset} says {size} bytes, {end - offset} are there")
        yield Box(kind.decode("latin-1"), offset, body, stop, data)
        offset = stop
