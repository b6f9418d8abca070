"""Sample entries (`stsd`): which codec, in the words of RFC 6381, and how its pictures or channels are described."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from packager.h264 import SpsFacts, parameter_sets, read_sps
from packager.mp4_boxes import Box, Mp4Error

_VIDEO_FIELDS: Final = 78
_AUDIO_FIELDS: Final = 28


@dataclass(frozen=True, slots=True)
class Protection:
    """Common encryption: `scheme` is "cbcs", "cenc"…; the pattern counts 16-byte blocks."""

    scheme: str
    crypt_blocks: int
    skip_blocks: int


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """One sample entry. `kind` is its four characters in the clear; `colour` is (primaries, transfer, matrix, full range) of `colr` nclx."""

    kind: str
    codecs: str
    width: int = 0
    height: int = 0
    channels: int = 0
    sample_rate: int = 0
    bitrate: int = 0
    colour: tuple[int, int, int, int] | None = None
    pixel_aspect: tuple[int, int] = (1, 1)
    sps: SpsFacts | None = None
    avcc_profile: bytes = b""
    nal_length: int = 4
    protection: Protection | None = None


def read_entry(box: Box, handler: str) -> SampleEntry:
    """Facts of the sample entry `box` of a track whose handler is "vide", "soun" or another. Raises Mp4Error when it is cut short."""
    try:
        if handler == "vide":
            return _video(box)
        if handler == "soun":
            return _audio(box)
    except (IndexError, ValueError, struct.error) as error:
        raise Mp4Error(f"the sample entry {box.kind} cannot be read: {error}") from error
    return SampleEntry(box.kind, box.kind)


def _video(box: Box) -> SampleEntry:
    kind, protection = _in_the_clear(box, _VIDEO_FIELDS)
    width, height = box.unpack(">HH", 24)
    colr, pasp, avcc = (box.find(name, _VIDEO_FIELDS) for name in ("colr", "pasp", "avcC"))
    nclx = colr is not None and colr.payload[:4] == b"nclx"
    sps = parameter_sets(avcc.payload)[0] if avcc else []
    across, down = pasp.unpack(">II") if pasp else (1, 1)
    primaries, transfer, matrix, full = colr.unpack(">HHHB", 4) if colr and nclx else (0, 0, 0, 0)
    return SampleEntry(
        kind=kind,
        codecs=_codecs(box, kind, _VIDEO_FIELDS),
        width=width,
        height=height,
        colour=(primaries, transfer, matrix, full >> 7) if nclx else None,
        pixel_aspect=(across, down),
        sps=read_sps(sps[0]) if sps else None,
        avcc_profile=avcc.payload[1:4] if avcc else b"",
        nal_length=avcc.payload[4] % 4 + 1 if avcc else 4,
        protection=protection,
    )


def _audio(box: Box) -> SampleEntry:
    kind, protection = _in_the_clear(box, _AUDIO_FIELDS)
    channels, rate = box.unpack(">H", 16)[0], box.unpack(">I", 24)[0] >> 16
    esds, bitrate = box.find("esds", _AUDIO_FIELDS), 0
    if esds is not None:
        channels, rate = _aac_layout(_audio_specific(esds), channels, rate)
        bitrate = int.from_bytes(_descriptors(esds).get(4, b"")[9:13])
    codecs = _codecs(box, kind, _AUDIO_FIELDS)
    return SampleEntry(kind, codecs, channels=channels, sample_rate=rate, bitrate=bitrate, protection=protection)


def _in_the_clear(box: Box, fields: int) -> tuple[str, Protection | None]:
    """The format before common encryption renamed the entry to `encv` or `enca` (ISO/IEC 14496-12 §8.12)."""
    if box.kind not in ("encv", "enca"):
        return box.kind, None
    sinf = box.need("sinf", fields)
    scheme = sinf.need("schm").payload[4:8].decode("latin-1")
    tenc = sinf.find("schi/tenc")
    pattern = tenc.unpack(">B", 5)[0] if tenc and tenc.unpack(">B")[0] else 0
    return sinf.need("frma").payload[:4].decode("latin-1"), Protection(scheme, pattern >> 4, pattern & 15)


def _codecs(box: Box, kind: str, fields: int) -> str:
    found = _NAMERS.get(kind)
    if found is None:
        return kind
    name, namer = found
    config = box.need(name, fields)
    return namer(kind, config)


def _avc(kind: str, avcc: Box) -> str:
    return f"{kind}.{avcc.payload[1:4].hex()}"


def _hevc(kind: str, hvcc: Box) -> str:
    """ISO/IEC 14496-15 Annex E.3: profile space and number, reversed compatibility flags, tier and level, constraint bytes."""
    payload = hvcc.payload
    if len(payload) < 13:
        raise Mp4Error("hvcC is cut short")
    space = ("", "A", "B", "C")[payload[1] >> 6]
    compatible = int(f"{int.from_bytes(payload[2:6], 'big'):032b}"[::-1], 2)
    constraints = "".join(f".{byte:X}" for byte in payload[6:12].rstrip(b"\0"))
    return f"{kind}.{space}{payload[1] & 31}.{compatible:X}.{'H' if payload[1] & 32 else 'L'}{payload[12]}{constraints}"


def _av1(kind: str, av1c: Box) -> str:
    _, first, second = av1c.unpack(">BBB")
    depth = (12 if second & 32 else 10) if second & 64 else 8
    return f"{kind}.{first >> 5}.{first & 31:02d}{'H' if second & 128 else 'M'}.{depth:02d}"


def _mpeg4_audio(kind: str, esds: Box) -> str:
    """Object type indication in hex, then the audio object type, as in "mp4a.40.2"."""
    config = _descriptors(esds).get(4, b"")
    if not config:
        raise Mp4Error("esds has no decoder configuration")
    if config[0] != 0x40:
        return f"{kind}.{config[0]:x}"
    return f"{kind}.40.{_object_type(_audio_specific(esds))}"


def _fixed(kind: str, _: Box) -> str:
    return kind


_NAMERS: Final[dict[str, tuple[str, Callable[[str, Box], str]]]] = {
    "avc1": ("avcC", _avc),
    "avc3": ("avcC", _avc),
    "hvc1": ("hvcC", _hevc),
    "hev1": ("hvcC", _hevc),
    "av01": ("av1C", _av1),
    "mp4a": ("esds", _mpeg4_audio),
    "ac-3": ("dac3", _fixed),
    "ec-3": ("dec3", _fixed),
}


def _audio_specific(esds: Box) -> bytes:
    return _descriptors(esds).get(5, b"")


def _descriptors(esds: Box) -> dict[int, bytes]:
    """MPEG-4 descriptors by tag (ISO/IEC 14496-1 §7.2.6): 3 holds 4 and 6, 4 holds 5. Lengths take seven bits a byte."""
    found: dict[int, bytes] = {}
    queue = [esds.payload[4:]]
    for data in queue:
        while len(data) >= 2:
            tag, length, at = data[0], data[1] & 127, 2
            while data[at - 1] & 128 and at < min(len(data), 5):
                length, at = length << 7 | data[at] & 127, at + 1
            body, data = data[at : at + length], data[at + length :]
            found.setdefault(tag, body)
            if tag in (3, 4):
                queue.append(body[3 if tag == 3 else 13 :])
    return found


def _object_type(specific: bytes) -> int:
    if len(specific) < 2:
        raise Mp4Error("the AudioSpecificConfig is missing")
    kind = specific[0] >> 3
    return kind if kind != 31 else 32 + (specific[0] << 3 & 0x38 | specific[1] >> 5)


def _aac_layout(specific: bytes, channels: int, rate: int) -> tuple[int, int]:
    """Channels and rate as the AudioSpecificConfig says; the sample entry may say 2 and 0 for whatever is inside."""
    if len(specific) < 2 or specific[0] >> 3 == 31:
        return channels, rate
    rates = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
    index, layout = (specific[0] & 7) << 1 | specific[1] >> 7, specific[1] >> 3 & 15
    return {0: channels, 7: 8}.get(layout, layout), rates[index] if index < len(rates) else rate
