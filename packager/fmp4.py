"""CMAF fragmented MP4, written: one track per file, init segments and media segments (ISO/IEC 14496-12, 23000-19).

Decode times are the sorted presentation times, so a segment's `tfdt` is the presentation time of its first frame and the first is 0. Composition
offsets are made positive by a constant reorder delay, and one edit list entry takes it off again: FFmpeg shifts the picture against the sound
when it meets negative offsets in fragments (its demuxer's dts_shift), while MSE, AVPlayer and FFmpeg all honour this edit.
Every GOP is a fragment (`moof` + `mdat`) of its own and its key frame comes first, which makes the I-frame of a playlist one byte range: `moof`,
`mdat` header, first sample. Reading lives in fmp4_read.py and is re-exported here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from packager.facts import Colour
from packager.fmp4_read import InitFacts, SegmentFacts, codecs, read_init, read_segment
from packager.h264 import avcc_from_annexb, length_prefixed

__all__ = [
    "AudioTrack",
    "Colour",
    "Fragment",
    "InitFacts",
    "Sample",
    "SegmentFacts",
    "VideoTrack",
    "avcc_from_annexb",
    "codecs",
    "fragment",
    "init_segment",
    "length_prefixed",
    "read_init",
    "read_segment",
    "segment",
]

_MATRIX: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_TRACK: Final = 1
_KEY: Final = 0x02000000  # depends on no other sample
_DELTA: Final = 0x01010000  # depends on others, not a sync sample
_STYP: Final = struct.pack(">I4s4sI4s4s", 24, b"styp", b"msdh", 0, b"msdh", b"cmfs")


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """H.264 with square pixels. `avcc` is the AVCDecoderConfigurationRecord; `delay` in ticks is added to every composition offset."""

    timescale: int
    width: int
    height: int
    avcc: bytes
    colour: Colour
    delay: int = 0


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """AAC. `asc` is the AudioSpecificConfig (FFmpeg's extradata); `bitrate` in bit/s; `language` a BCP 47 tag."""

    timescale: int
    channels: int
    sample_rate: int
    asc: bytes
    bitrate: int
    language: str = "und"


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame: `duration` and `cts` (presentation minus decode time, plus the track's delay) count the track's timescale."""

    data: bytes
    duration: int
    cts: int = 0
    key: bool = True


@dataclass(frozen=True, slots=True)
class Fragment:
    """One `moof` + `mdat`. `first_sample_end` counts from the start of the `moof`."""

    data: bytes
    first_sample_end: int


def init_segment(track: VideoTrack | AudioTrack) -> bytes:
    """`ftyp` and `moov` of one track; durations are 0 as CMAF §7.5 asks, the fragments carry them."""
    ftyp = _box(b"ftyp", b"iso6", struct.pack(">I", 0), b"iso6", b"cmfc")
    trex = _full(b"trex", 0, 0, struct.pack(">5I", _TRACK, 1, 0, 0, 0))
    return ftyp + _box(b"moov", _mvhd(track.timescale), _trak(track), _box(b"mvex", trex))


def fragment(sequence: int, tfdt: int, samples: Sequence[Sample]) -> Fragment:
    """`moof` + `mdat` of `samples` in decode order; `sequence` counts fragments of the track from 1, `tfdt` is the first decode time."""
    if not samples or tfdt < 0:
        raise ValueError("a fragment needs samples and a decode time >= 0")
    mfhd = _full(b"mfhd", 0, 0, struct.pack(">I", sequence))
    tfhd, trun = _run(samples)
    traf_size = 8 + len(tfhd) + 20 + len(trun)
    moof_size = 8 + len(mfhd) + traf_size
    traf = _box(b"traf", tfhd, _full(b"tfdt", 1, 0, struct.pack(">Q", tfdt)), _with_data_offset(trun, moof_size + 8))
    mdat = _box(b"mdat", *(sample.data for sample in samples))
    return Fragment(_box(b"moof", mfhd, traf) + mdat, moof_size + 8 + len(samples[0].data))


def segment(fragments: Sequence[Fragment]) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """A media segment (`styp` first) and, for each fragment, the byte range (offset, size) of its `moof` up to the end of its first sample."""
    ranges: list[tuple[int, int]] = []
    offset = len(_STYP)
    for part in fragments:
        ranges.append((offset, part.first_sample_end))
        offset += len(part.data)
    return b"".join((_STYP, *(part.data for part in fragments))), tuple(ranges)


def _box(kind: bytes, *parts: bytes) -> bytes:
    return b"".join((struct.pack(">I4s", 8 + sum(map(len, parts)), kind), *parts))


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _mvhd(timescale: int) -> bytes:
    times = struct.pack(">4I", 0, 0, timescale, 0)
    return _full(
        b"mvhd", 0, 0, times, struct.pack(">IH10x", 0x10000, 0x100), _MATRIX, bytes(24), struct.pack(">I", _TRACK + 1)
    )


def _trak(track: VideoTrack | AudioTrack) -> bytes:
    video = isinstance(track, VideoTrack)
    width, height = (track.width, track.height) if isinstance(track, VideoTrack) else (0, 0)
    group_and_volume = struct.pack(">8xHHHH", 0, 0 if video else 1, 0 if video else 0x100, 0)
    size = struct.pack(">II", width << 16, height << 16)
    tkhd = _full(b"tkhd", 0, 7, struct.pack(">5I", 0, 0, _TRACK, 0, 0), group_and_volume, _MATRIX, size)
    delay = track.delay if isinstance(track, VideoTrack) else 0
    edts = _box(b"edts", _full(b"elst", 0, 0, struct.pack(">IIihh", 1, 0, delay, 1, 0))) if delay else b""
    return _box(b"trak", tkhd, edts, _mdia(track))


def _mdia(track: VideoTrack | AudioTrack) -> bytes:
    video = isinstance(track, VideoTrack)
    language = "und" if isinstance(track, VideoTrack) else track.language
    mdhd = _full(b"mdhd", 0, 0, struct.pack(">4IHH", 0, 0, track.timescale, 0, _packed_language(language), 0))
    kind, name = (b"vide", b"Video\0") if video else (b"soun", b"Audio\0")
    hdlr = _full(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, kind), name)
    elng = b"" if _is_iso639(language) else _full(b"elng", 0, 0, language.encode() + b"\0")
    header = _full(b"vmhd", 0, 1, bytes(8)) if video else _full(b"smhd", 0, 0, bytes(4))
    dinf = _box(b"dinf", _full(b"dref", 0, 0, struct.pack(">I", 1), _full(b"url ", 0, 1)))
    return _box(b"mdia", mdhd, hdlr, elng, _box(b"minf", header, dinf, _stbl(track)))


def _is_iso639(language: str) -> bool:
    return len(language) == 3 and language.isascii() and language.islower()


def _packed_language(language: str) -> int:
    """`mdhd` has room for three letters only; any other tag is `und` here and stands in full in `elng`."""
    first, second, third = (ord(letter) - 0x60 for letter in (language if _is_iso639(language) else "und"))
    return first << 10 | second << 5 | third


def _stbl(track: VideoTrack | AudioTrack) -> bytes:
    entry = _avc1(track) if isinstance(track, VideoTrack) else _mp4a(track)
    empty = [_full(kind, 0, 0, bytes(size)) for kind, size in ((b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4))]
    return _box(b"stbl", _full(b"stsd", 0, 0, struct.pack(">I", 1), entry), *empty)


def _avc1(track: VideoTrack) -> bytes:
    head = struct.pack(">6xH16xHHIII H32sHh", 1, track.width, track.height, 0x480000, 0x480000, 0, 1, b"", 0x18, -1)
    colour = track.colour
    points = struct.pack(">HHHB", colour.primaries, colour.transfer, colour.matrix, colour.full_range << 7)
    square = struct.pack(">II", 1, 1)
    return _box(b"avc1", head, _box(b"avcC", track.avcc), _box(b"colr", b"nclx", points), _box(b"pasp", square))


def _mp4a(track: AudioTrack) -> bytes:
    rate = track.sample_rate if track.sample_rate < 1 << 16 else 0
    head = struct.pack(">6xH8xHH4xI", 1, track.channels, 16, rate << 16)
    return _box(b"mp4a", head, _esds(track))


def _esds(track: AudioTrack) -> bytes:
    """MPEG-4 descriptors (ISO/IEC 14496-1 §7.2.6): object type 0x40 is MPEG-4 audio, stream type 5 audio."""
    specific = _descriptor(5, track.asc)
    config = _descriptor(
        4, struct.pack(">BB", 0x40, 5 << 2 | 1), bytes(3), struct.pack(">II", track.bitrate, track.bitrate), specific
    )
    return _full(b"esds", 0, 0, _descriptor(3, struct.pack(">HB", _TRACK, 0), config, _descriptor(6, b"\2")))


def _descriptor(tag: int, *parts: bytes) -> bytes:
    size = sum(map(len, parts))
    return b"".join(
        (bytes([tag, 0x80 | size >> 21 & 127, 0x80 | size >> 14 & 127, 0x80 | size >> 7 & 127, size & 127]), *parts)
    )


def _run(samples: Sequence[Sample]) -> tuple[bytes, bytes]:
    """`tfhd` and `trun`. What all samples share is said once in `tfhd`; the offset to the data is filled in later."""
    duration = samples[0].duration if all(s.duration == samples[0].duration for s in samples) else None
    offsets, signed = any(s.cts for s in samples), any(s.cts < 0 for s in samples)
    flags = [_KEY if s.key else _DELTA for s in samples]
    rest = flags[-1]
    one_leads = all(flag == rest for flag in flags[1:])
    run_flags = 0x201 | (0x100 if duration is None else 0) | (0x800 if offsets else 0)
    run_flags |= 0x400 if not one_leads else 0x4 if flags[0] != rest else 0
    head_flags = 0x020020 | (0x8 if duration is not None else 0)
    head = (
        struct.pack(">I", _TRACK)
        + (struct.pack(">I", duration) if duration is not None else b"")
        + struct.pack(">I", rest)
    )
    fields: list[int] = []
    for sample, flag in zip(samples, flags, strict=True):
        fields += [sample.duration] if duration is None else []
        fields.append(len(sample.data))
        fields += [flag] if not one_leads else []
        fields += [sample.cts & 0xFFFFFFFF] if offsets else []
    first = struct.pack(">I", flags[0]) if run_flags & 0x4 else b""
    trun = _full(
        b"trun",
        int(signed),
        run_flags,
        struct.pack(">II", len(samples), 0),
        first,
        struct.pack(f">{len(fields)}I", *fields),
    )
    return _full(b"tfhd", 0, head_flags, head), trun


def _with_data_offset(trun: bytes, offset: int) -> bytes:
    return trun[:16] + struct.pack(">I", offset) + trun[20:]
