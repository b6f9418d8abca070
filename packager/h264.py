"""H.264 elementary streams: NAL units, parameter sets, the `avcC` record.

x264 writes Annex B (start codes, parameter sets in its extradata); MP4 wants length-prefixed NAL units and the parameter sets in the sample
entry alone. Only what packaging and checking need of an SPS is parsed (ITU-T H.264 §7.3.2.1.1, Annex E).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TYPE: Final = 31  # the bits of a NAL unit's first byte that say what it is
SLICE: Final = 1
IDR: Final = 5
SEI: Final = 6
SPS: Final = 7
PPS: Final = 8
AUD: Final = 9
FILLER: Final = 12

_OUT_OF_BAND: Final = frozenset({SPS, PPS, AUD})
_WITH_CHROMA_FORMAT: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_SQUARE: Final = (1, 1)
_ASPECTS: Final = (
    (0, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
_EXTENDED_ASPECT: Final = 255


@dataclass(frozen=True, slots=True)
class SpsFacts:
    """What a sequence parameter set says. `colour` is (primaries, transfer, matrix) or None where it says nothing."""

    profile: int
    constraints: int
    level: int
    width: int
    height: int
    progressive: bool
    chroma_format: int
    luma_bits: int
    chroma_bits: int
    aspect: tuple[int, int] = _SQUARE
    colour: tuple[int, int, int] | None = None
    full_range: bool = False


def nal_units(annexb: bytes) -> Iterator[bytes]:
    """NAL units of an Annex B byte stream, without start codes and without trailing zero bytes."""
    start = annexb.find(b"\0\0\1")
    while start >= 0:
        begin = start + 3
        start = annexb.find(b"\0\0\1", begin)
        unit = (annexb[begin:] if start < 0 else annexb[begin:start]).rstrip(b"\0")
        if unit:
            yield unit


def length_prefixed(packet: bytes) -> bytes:
    """An Annex B access unit as MP4 stores it: four-byte lengths; no delimiter, no parameter sets (they stand in `avcC`); SEI kept."""
    parts: list[bytes] = []
    for unit in nal_units(packet):
        if unit[0] & 31 not in _OUT_OF_BAND:
            parts += (len(unit).to_bytes(4, "big"), unit)
    return b"".join(parts)


def avcc_from_annexb(extradata: bytes) -> bytes:
    """The AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3) of the parameter sets in `extradata`.

    Raises ValueError when there is no SPS or no PPS. An `avcC` record given instead of Annex B comes back unchanged.
    """
    if extradata[:1] == b"\1":
        return extradata
    units = list(dict.fromkeys(nal_units(extradata)))
    sps, pps = ([unit for unit in units if unit[0] & 31 == kind] for kind in (SPS, PPS))
    if not sps or not pps:
        raise ValueError("the encoder's extradata holds no SPS and PPS")
    record = b"\1" + sps[0][1:4] + b"\xff" + bytes([0xE0 | len(sps)]) + _sets(sps) + bytes([len(pps)]) + _sets(pps)
    return record + _high_profile_tail(sps[0])


def read_sps(unit: bytes) -> SpsFacts:
    """Parse one SPS NAL unit (header byte included). Raises ValueError when it is cut short."""
    bits = _Bits(unit[4:].replace(b"\0\0\3", b"\0\0"))
    profile, constraints, level = unit[1], unit[2], unit[3]
    bits.golomb()
    chroma_format, luma_bits, chroma_bits = _chroma(bits) if profile in _WITH_CHROMA_FORMAT else (1, 8, 8)
    _skip_order_count(bits)
    bits.golomb()
    bits.take(1)
    columns, rows = bits.golomb() + 1, bits.golomb() + 1
    progressive = bool(bits.take(1))
    if not progressive:
        bits.take(1)
    bits.take(1)
    left, right, top, bottom = _cropping(bits)
    step_x = 2 if chroma_format in (1, 2) else 1
    step_y = (2 if chroma_format == 1 else 1) * (1 if progressive else 2)
    aspect, full_range, colour = _vui(bits) if bits.take(1) else (_SQUARE, False, None)
    return SpsFacts(
        profile=profile,
        constraints=constraints,
        level=level,
        width=columns * 16 - (left + right) * step_x,
        height=rows * 16 * (1 if progressive else 2) - (top + bottom) * step_y,
        progressive=progressive,
        chroma_format=chroma_format,
        luma_bits=luma_bits,
        chroma_bits=chroma_bits,
        aspect=aspect,
        colour=colour,
        full_range=full_range,
    )


def parameter_sets(avcc: bytes) -> tuple[list[bytes], list[bytes]]:
    """The SPS and PPS NAL units of an `avcC` record."""
    sps, offset = _read_sets(avcc, 6, avcc[5] & 31)
    pps, _ = _read_sets(avcc, offset + 1, avcc[offset])
    return sps, pps


def _sets(units: list[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(unit)) + unit for unit in units)


def _read_sets(avcc: bytes, offset: int, count: int) -> tuple[list[bytes], int]:
    units = []
    for _ in range(count):
        (size,) = struct.unpack_from(">H", avcc, offset)
        units.append(avcc[offset + 2 : offset + 2 + size])
        offset += 2 + size
    return units, offset


def _high_profile_tail(sps: bytes) -> bytes:
    """Baseline, Main and Extended records end at the PPS; every later profile adds chroma format and bit depths."""
    if sps[1] in (66, 77, 88):
        return b""
    facts = read_sps(sps)
    return bytes([0xFC | facts.chroma_format, 0xF8 | facts.luma_bits - 8, 0xF8 | facts.chroma_bits - 8, 0])


class _Bits:
    """A bit reader over an SPS, small enough that one integer holds it all."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the SPS is cut short")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def golomb(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _chroma(bits: _Bits) -> tuple[int, int, int]:
    chroma_format = bits.golomb()
    if chroma_format == 3:
        bits.take(1)
    luma, chroma = bits.golomb() + 8, bits.golomb() + 8
    bits.take(1)
    if bits.take(1):
        for index in range(12 if chroma_format == 3 else 8):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma_format, luma, chroma


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = scale = 8
    for _ in range(size):
        if scale:
            scale = (last + bits.signed()) % 256
        last = scale or last


def _skip_order_count(bits: _Bits) -> None:
    bits.golomb()
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.golomb()):
            bits.signed()


def _cropping(bits: _Bits) -> tuple[int, int, int, int]:
    if not bits.take(1):
        return (0, 0, 0, 0)
    return (bits.golomb(), bits.golomb(), bits.golomb(), bits.golomb())


def _vui(bits: _Bits) -> tuple[tuple[int, int], bool, tuple[int, int, int] | None]:
    aspect = _SQUARE
    if bits.take(1):
        kind = bits.take(8)
        if kind == _EXTENDED_ASPECT:
            aspect = (bits.take(16), bits.take(16))
        elif 0 < kind < len(_ASPECTS):
            aspect = _ASPECTS[kind]
    if bits.take(1):
        bits.take(1)
    if not bits.take(1):
        return aspect, False, None
    bits.take(3)
    full_range = bool(bits.take(1))
    colour = (bits.take(8), bits.take(8), bits.take(8)) if bits.take(1) else None
    return aspect, full_range, colour
