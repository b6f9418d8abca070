"""Fragmented MP4, read back from its bytes: what a player learns from an init segment and from a media segment.

Used to name codecs truthfully and by the conformance checker, which trusts nothing but bytes.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from packager.mp4_boxes import Box, Mp4Error, root
from packager.mp4_entries import SampleEntry, read_entry

_NON_SYNC: Final = 0x00010000
_MAX_SAMPLES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """One track of an init segment. `media_time` is where its edit list starts, None without one; `defaults` come from `trex`."""

    id: int
    handler: str
    timescale: int
    language: str
    entry: SampleEntry
    media_time: int | None = None
    defaults: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class InitFacts:
    """An init segment: its brands and its tracks."""

    brands: tuple[str, ...]
    tracks: tuple[TrackFacts, ...]


@dataclass(frozen=True, slots=True)
class FragmentFacts:
    """One `traf`. Tuples run over samples in decode order; `offset` (of the `moof`), `end` (of the `mdat`) and `offsets` count from the segment's start."""

    track: int
    sequence: int
    offset: int
    end: int
    tfdt: int
    durations: tuple[int, ...]
    sizes: tuple[int, ...]
    composition: tuple[int, ...]
    keys: tuple[bool, ...]
    offsets: tuple[int, ...]

    @property
    def duration(self) -> int:
        return sum(self.durations)

    @property
    def presentations(self) -> tuple[int, ...]:
        """Presentation times in decode order, before any edit list."""
        decode = accumulate(self.durations[:-1], initial=self.tfdt)
        return tuple(time + offset for time, offset in zip(decode, self.composition, strict=True))


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A media segment: the kinds of its top-level boxes in order and its fragments."""

    boxes: tuple[str, ...]
    fragments: tuple[FragmentFacts, ...]


def codecs(init: bytes) -> str:
    """The CODECS attribute (RFC 6381) of an init segment, from its bytes: "avc1.64001f", "mp4a.40.2"; several tracks joined by commas."""
    return ",".join(track.entry.codecs for track in read_init(init).tracks)


def read_init(data: bytes) -> InitFacts:
    """Facts of an init segment. Raises Mp4Error when it has no `moov` with a track."""
    file = root(data)
    moov = file.need("moov")
    ftyp, mvex = file.find("ftyp"), moov.find("mvex")
    trex = [box for box in mvex.children() if box.kind == "trex"] if mvex else []
    defaults = {box.unpack(">I", 4)[0]: box.unpack(">III", 12) for box in trex}
    tracks = tuple(_track(box, defaults) for box in moov.children() if box.kind == "trak")
    if not tracks:
        raise Mp4Error("the init segment has no track")
    return InitFacts(_brands(ftyp) if ftyp else (), tracks)


def read_segment(data: bytes, init: InitFacts) -> SegmentFacts:
    """Facts of a media segment. `init` supplies the sample defaults (`trex`). Raises Mp4Error when boxes or samples leave the data."""
    defaults = {track.id: track.defaults for track in init.tracks}
    top = list(root(data).children())
    fragments: list[FragmentFacts] = []
    for position, box in enumerate(top):
        if box.kind == "moof":
            end = next((later.end for later in top[position + 1 :] if later.kind == "mdat"), box.end)
            fragments += [_fragment(traf, box, end, defaults) for traf in box.children() if traf.kind == "traf"]
    return SegmentFacts(tuple(box.kind for box in top), tuple(fragments))


def read_first_moof(data: bytes, init: InitFacts) -> tuple[FragmentFacts, str]:
    """The first fragment's facts and the kind of box behind its `moof`, from bytes that may end inside the mdat (the range of an I-frame)."""
    defaults = {track.id: track.defaults for track in init.tracks}
    for box in root(data).children():
        if box.kind == "moof":
            facts = _fragment(box.need("traf"), box, sys.maxsize, defaults)
            return facts, data[box.end + 4 : box.end + 8].decode("latin-1")
    raise Mp4Error("there is no moof")


def nal_units(data: bytes, offset: int, size: int, length_size: int = 4) -> Iterator[tuple[int, int]]:
    """(start, end) of each length-prefixed NAL unit of a sample. Raises Mp4Error when lengths do not add up."""
    end = offset + size
    while offset < end:
        start = offset + length_size
        stop = start + int.from_bytes(data[offset:start], "big")
        if stop == start or stop > end:
            raise Mp4Error(f"the NAL unit at byte {start} leaves its sample")
        yield start, stop
        offset = stop


def _brands(ftyp: Box) -> tuple[str, ...]:
    text = ftyp.payload.decode("latin-1")
    return (text[:4], *(text[at : at + 4] for at in range(8, len(text), 4)))


def _track(trak: Box, defaults: dict[int, tuple[int, ...]]) -> TrackFacts:
    tkhd, mdhd = trak.need("tkhd"), trak.need("mdia/mdhd")
    track_id = tkhd.unpack(">I", 20 if _version(tkhd) else 12)[0]
    timescale, _, packed = mdhd.unpack(">IQH", 20) if _version(mdhd) else mdhd.unpack(">IIH", 12)
    handler = trak.need("mdia/hdlr").payload[8:12].decode("latin-1")
    entry = next(trak.need("mdia/minf/stbl/stsd").children(8), None)
    if entry is None or timescale == 0:
        raise Mp4Error(f"track {track_id} has no sample entry or no timescale")
    duration, size, flags = defaults.get(track_id, (0, 0, 0))
    language = "".join(chr((packed >> shift & 31) + 0x60) for shift in (10, 5, 0))
    return TrackFacts(
        track_id, handler, timescale, language, read_entry(entry, handler), _media_time(trak), (duration, size, flags)
    )


def _version(box: Box) -> int:
    return box.unpack(">B")[0]


def _media_time(trak: Box) -> int | None:
    """Where the first edit that shows media starts; empty edits (-1) are passed over."""
    elst = trak.find("edts/elst")
    if elst is None:
        return None
    layout, at, step = (">q", 16, 20) if _version(elst) else (">i", 12, 12)
    count = min(elst.unpack(">I", 4)[0], (elst.end - elst.body) // step)
    times = (elst.unpack(layout, at + step * index)[0] for index in range(count))
    return next((time for time in times if time >= 0), None)


def _fragment(traf: Box, moof: Box, end: int, defaults: dict[int, tuple[int, int, int]]) -> FragmentFacts:
    tfhd = traf.need("tfhd")
    flags, track = tfhd.unpack(">II")
    base, default = _header(tfhd, flags, moof, defaults.get(track, (0, 0, 0)))
    tfdt = traf.need("tfdt")
    time = tfdt.unpack(">Q" if _version(tfdt) else ">I", 4)[0]
    sequence = moof.need("mfhd").unpack(">I", 4)[0]
    samples, offsets = _samples(traf, base, default, end)
    durations, sizes, sample_flags, composition = ([sample[field] for sample in samples] for field in range(4))
    keys = tuple(not flag & _NON_SYNC for flag in sample_flags)
    return FragmentFacts(
        track, sequence, moof.start, end, time, tuple(durations), tuple(sizes), tuple(composition), keys, tuple(offsets)
    )


def _header(tfhd: Box, flags: int, moof: Box, trex: tuple[int, int, int]) -> tuple[int, tuple[int, int, int]]:
    """Where data offsets count from, and the fragment's defaults for duration, size and flags."""
    at, base, values = 8, moof.start, list(trex)
    if flags & 0x1:
        base, at = tfhd.unpack(">Q", at)[0], at + 8
    if flags & 0x2:
        at += 4
    for position, flag in enumerate((0x8, 0x10, 0x20)):
        if flags & flag:
            values[position], at = tfhd.unpack(">I", at)[0], at + 4
    return base, (values[0], values[1], values[2])


def _samples(traf: Box, base: int, default: tuple[int, int, int], end: int) -> tuple[list[Sequence[int]], list[int]]:
    """(duration, size, flags, composition offset) of every sample of every `trun`, and where their bytes start."""
    samples: list[Sequence[int]] = []
    offsets: list[int] = []
    cursor = base
    for trun in (box for box in traf.children() if box.kind == "trun"):
        run, data_offset = _trun(trun, default)
        cursor = cursor if data_offset is None else base + data_offset
        for sample in run:
            offsets.append(cursor)
            cursor += sample[1]
        samples += run
    if samples and not 0 <= offsets[0] <= cursor <= end:
        raise Mp4Error(f"samples end at byte {cursor}, their mdat at {end}")
    return samples, offsets


def _trun(trun: Box, default: tuple[int, int, int]) -> tuple[list[Sequence[int]], int | None]:
    word, count = trun.unpack(">II")
    at, data_offset, first = 8, None, None
    if word & 0x1:
        data_offset, at = trun.unpack(">i", at)[0], at + 4
    if word & 0x4:
        first, at = trun.unpack(">I", at)[0], at + 4
    present = [bool(word & flag) for flag in (0x100, 0x200, 0x400, 0x800)]
    layout = struct.Struct(
        ">" + "".join(letter for letter, there in zip("IIIi" if word >> 24 else "IIII", present, strict=True) if there)
    )
    if count > _MAX_SAMPLES or trun.body + at + count * layout.size > trun.end:
        raise Mp4Error(f"the trun at byte {trun.start} is too short for {count} samples")
    start = trun.body + at
    given = zip(*layout.iter_unpack(trun.data[start : start + count * layout.size]), strict=True) if layout.size else ()
    samples = _filled(iter(given), present, (*default, 0), count)
    if first is not None and samples:
        samples[0] = (*samples[0][:2], first, samples[0][3])
    return samples, data_offset


def _filled(
    given: Iterator[tuple[int, ...]], present: list[bool], default: tuple[int, ...], count: int
) -> list[Sequence[int]]:
    """Samples of the columns that are given, and of the defaults of the others."""
    columns = ((next(given, ()) if there else (value,) * count) for there, value in zip(present, default, strict=True))
    return list(zip(*columns, strict=True))
