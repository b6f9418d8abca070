"""Groups of pictures of an H.264 track, from its packets alone: where one can start, how large each is, how far frames are reordered.

A key frame by its container's flag may be a recovery point: decoding can start there, but frames behind it may need frames before it. Only NAL
unit type 5 (IDR) promises a clean start, so the first slice of each key packet is looked at. The rest of the packets is believed until they
are passed through (remux.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from packager import fmp4_read, h264
from packager.facts import H264Facts

LARGEST_LENGTH = 4
MAX_FRAMES = 2_000_000  # nine hours at 60 a second; longer films are not worth the memory of knowing every frame
START_CODE = b"\0\0\0\1"
SLICES = (h264.SLICE, h264.IDR)


@dataclass(frozen=True, slots=True)
class Header:
    """The parameter sets that stand before the packets, and how these are framed: lengths of `length_size` bytes, 0 for start codes."""

    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    length_size: int

    @classmethod
    def read(cls, extradata: bytes | None) -> Header:
        """From a decoder's extradata: an `avcC` record or Annex B. Raises ValueError if it is neither."""
        if not extradata:
            return cls((), (), 0)
        if extradata[0] != 1:
            units = list(dict.fromkeys(h264.nal_units(extradata)))
            return cls(_of(units, h264.SPS), _of(units, h264.PPS), 0)
        try:
            sps, pps = h264.parameter_sets(extradata)
        except (IndexError, struct.error) as error:
            raise ValueError("the avcC record is cut short") from error
        return cls(tuple(sps), tuple(pps), extradata[4] % LARGEST_LENGTH + 1)

    @property
    def avcc(self) -> bytes:
        """As we publish it: lengths of four bytes, whatever the source's are."""
        return h264.avcc_from_annexb(b"".join(START_CODE + unit for unit in (*self.sps, *self.pps)))

    def units(self, packet: bytes, size: int | None = None) -> Iterator[bytes]:
        """NAL units of a packet. If only its first bytes are given, `size` is the whole, and a slice may be cut.

        Raises ValueError when lengths don't add up or more bytes are needed.
        """
        if not self.length_size:
            yield from h264.nal_units(packet)
            return
        for start, stop in fmp4_read.nal_units(packet, 0, size or len(packet), self.length_size):
            if stop > len(packet) and (start >= len(packet) or packet[start] & h264.TYPE not in SLICES):
                raise ValueError("the packet is cut short")
            yield packet[start:stop]

    def differs(self, unit: bytes) -> bool:
        """It is a parameter set, and not one of ours."""
        kind = unit[0] & h264.TYPE
        return (kind == h264.SPS and unit not in self.sps) or (kind == h264.PPS and unit not in self.pps)


def _of(units: list[bytes], kind: int) -> tuple[bytes, ...]:
    return tuple(unit for unit in units if unit[0] & h264.TYPE == kind)


class Gops:
    """Collects what packets say in decode order: `pts` and `sizes` of all, `key` for those that carry the flag."""

    def __init__(self, extradata: bytes | None) -> None:
        self.pts: list[int] = []
        self.sizes: list[int] = []
        self.whole = True
        self.varies = False
        self._idr: set[int] = set()
        try:
            self._header = Header.read(extradata)
            self._sps = h264.read_sps(self._header.sps[0]) if self._header.sps else None
        except (ValueError, IndexError):
            self._header, self._sps = Header((), (), 0), None

    def add(self, pts: int, size: int) -> int:
        """The next packet; its number, -1 when there are too many."""
        if len(self.pts) == MAX_FRAMES:
            self.whole = False
            return -1
        self.pts.append(pts)
        self.sizes.append(size)
        return len(self.pts) - 1

    def key(self, number: int, packet: bytes, size: int | None = None) -> bool:
        """Look into the key packet `number`; False if the bytes given are too few of its `size`."""
        try:
            for unit in self._header.units(packet, size):
                kind = unit[0] & h264.TYPE
                if kind in SLICES:
                    self._idr |= {number} if kind == h264.IDR else set()
                    return True
                self.varies |= self._header.differs(unit)
        except ValueError:
            pass
        return False

    def facts(self) -> H264Facts:
        """Frames of a closed group are shown after all before it and before all behind it: their places in both orders show it."""
        place = {pts: number for number, pts in enumerate(sorted(self.pts))}
        starts: list[int] = []
        reorder, latest = 0, -(1 << 63)
        for number, pts in enumerate(self.pts):
            if number in self._idr and place[pts] == number and pts > latest:
                starts.append(number)
            if pts > latest:
                latest = pts
            elif number - place[pts] > reorder:
                reorder = number - place[pts]
        ends = [*starts[1:], len(self.pts)]
        return H264Facts(
            sps=self._sps,
            sets=len(self._header.sps),
            varies=self.varies,
            whole=self.whole and len(place) == len(self.pts),
            idr=tuple(self.pts[number] for number in starts),
            sizes=tuple(sum(self.sizes[start:end]) for start, end in zip(starts, ends, strict=False)),
            reorder=reorder,
        )
