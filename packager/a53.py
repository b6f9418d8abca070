"""Closed captions that travel inside the picture: cc_data of ATSC A/53 Part 4 §6.2.3, marked `GA94`.

H.264 and HEVC carry it in SEI messages (user data registered by ITU-T T.35), MPEG-2 in the user data of a picture; both stand before the first
slice. Each picture brings its share of a constant stream of byte pairs, most of it padding. The pairs are collected here (eia608.py reads them),
and taken out of pictures that are published as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

CODECS: Final = frozenset({"h264", "hevc", "mpeg2video"})
HEAD: Final = 4096  # bytes of a packet in which the messages before its first slice nearly always fit
GLANCE: Final = 512  # bytes that show whether a track has them at all; searching more of every packet takes a sixth of a probe's time
MAX_PAIRS: Final = 1_000_000  # of one track, padding not counted; ten hours of ceaseless talk
MARK: Final = b"GA94"
T35: Final = b"\xb5\x00\x31"  # United States, ATSC
REGISTERED: Final = 4  # the payload type of SEI messages that T.35 describes

_CC_DATA: Final = MARK + b"\x03"
_LONGEST: Final = 2 + 31 * 3
_PROCESS, _COUNT, _VALID, _KIND, _DIGITAL = 0x40, 31, 4, 3, 2
_ODD: Final = frozenset(byte for byte in range(256) if byte.bit_count() % 2)
_PADDING: Final = b"\x00\x00"


class CaptionData:
    """What the packets of one track carry: `pairs` as (stamp, field 0 or 1, two bytes without parity), in decode order.

    `present`: there is cc_data, if only padding. `digital`: some of it is CEA-708 service data.
    """

    def __init__(self, codec: str) -> None:
        self.pairs: list[tuple[int, int, bytes]] = []
        self.present = self.digital = False
        self.codec = codec

    def look(self, stamp: int, head: bytes) -> None:
        """The first bytes of a packet that is shown at `stamp`."""
        at = head.find(_CC_DATA)
        while at >= 0:
            self._read(stamp, self._plain(head, at + len(_CC_DATA)))
            at = head.find(_CC_DATA, at + 1)

    def _plain(self, head: bytes, at: int) -> bytes:
        """The bytes behind the mark; escapes make them half as long again at most."""
        return unescaped(head[at : at + _LONGEST * 3 // 2]) if self.codec != "mpeg2video" else head[at : at + _LONGEST]

    def _read(self, stamp: int, data: bytes) -> None:
        if len(data) < 2 or not data[0] & _PROCESS:
            return
        self.present = True
        for start in range(2, min(len(data) - 2, 2 + 3 * (data[0] & _COUNT)), 3):
            kind, pair = data[start], data[start + 1 : start + 3]
            if kind & _VALID:
                self._take(stamp, kind & _KIND, pair)

    def _take(self, stamp: int, kind: int, pair: bytes) -> None:
        plain = bytes((pair[0] & 127, pair[1] & 127))
        if kind >= _DIGITAL:
            self.digital |= pair != _PADDING
        elif plain != _PADDING and _ODD.issuperset(pair) and len(self.pairs) < MAX_PAIRS:
            self.pairs.append((stamp, kind, plain))


def without_captions(sei: bytes) -> bytes:
    """An SEI NAL unit of H.264 without its `GA94` messages; empty when nothing else is in it, or when it can't be read and may hold one."""
    body = unescaped(sei[1:])
    if MARK not in body:
        return sei
    try:
        kept = b"".join(body[start:end] for start, end, captions in _messages(body) if not captions)
    except IndexError:
        return b""
    return sei[:1] + escaped(kept + b"\x80") if kept else b""


def _messages(body: bytes) -> Iterator[tuple[int, int, bool]]:
    """(start, end, are they captions) of each SEI message (ITU-T H.264 §7.3.2.3.1). Raises IndexError when the unit is cut short."""
    at, end = 0, len(body.rstrip(b"\0")) - 1  # the last byte that is not zero ends the unit
    while at < end:
        kind, behind = _number(body, at)
        size, payload = _number(body, behind)
        if payload + size > end:
            raise IndexError
        yield at, payload + size, kind == REGISTERED and body[payload : payload + size].startswith(T35 + MARK)
        at = payload + size


def _number(body: bytes, at: int) -> tuple[int, int]:
    """A number as SEI writes it, each 255 to be added to what follows, and the place behind it."""
    total = 0
    while body[at] == 255:
        total, at = total + 255, at + 1
    return total + body[at], at + 1


def unescaped(data: bytes) -> bytes:
    """A NAL unit's content without emulation prevention (ITU-T H.264 §7.4.1)."""
    return data.replace(b"\0\0\3", b"\0\0")


def escaped(data: bytes) -> bytes:
    """With it again: no three bytes look like a start code."""
    made, zeros = bytearray(), 0
    for byte in data:
        if zeros == 2 and byte <= 3:
            made.append(3)
            zeros = 0
        made.append(byte)
        zeros = 0 if byte else zeros + 1
    return bytes(made)
