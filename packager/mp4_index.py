"""The packet index of an MP4 or MOV file from its sample tables, so that hours of film need not be read to know their frames. Runs in the child.

FFmpeg has read the tables and corrected them by the edit lists; its index gives each packet's place, size and decode time. What it keeps to
itself, how much later a frame is shown, stands in `ctts` (ISO/IEC 14496-12 §8.6.1.3). Both are put together here and compared with FFmpeg's own
packets at either end of the track. Anything but the plain case (fragments, several sample entries, samples that the file ends before, an edit
list that takes frames from the middle) is no case for this module, and the file is read through instead.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Callable
from itertools import islice
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from packager.a53 import HEAD, CaptionData
from packager.gops import MAX_FRAMES, Gops
from packager.mp4_boxes import Box, Mp4Error, root
from packager.source import only, open_source
from packager.tracks import MAX_PACKETS, Track, demuxed, refuse_pieces

MAX_MOOV = 256 << 20  # a day at 60 fps has some 80 MB
COMPARED = 48  # packets from the start
LONGEST_END = 2000  # packets from the last key frame on
PLACES, IN_A_ROW = 4, 32  # where captions are looked for first, and how many packets there


Entry = tuple[int, int, int, bool, bool]
"""One packet in FFmpeg's index: place, size, decode time, key frame, hidden by an edit list."""


class _Unfit(Exception):
    """Not a file for this module."""


def read(path: str, alive: Callable[[], None]) -> dict[int, Track] | None:
    """What demuxing would say, in a fraction of the time; None when it can't be known without reading."""
    try:
        with open_source(path) as container, open(path, "rb") as file:
            return _tracks(container, file.fileno(), alive) | _text(container, alive)
    except (_Unfit, Mp4Error, av.error.FFmpegError, OSError):
        return None


def _tracks(container: InputContainer, file: int, alive: Callable[[], None]) -> dict[int, Track]:
    tables = _tables(root(_moov(file)))
    size, count = os.fstat(file).st_size, 0
    found: dict[int, Track] = {}
    for stream in container.streams:
        if not isinstance(stream, VideoStream | AudioStream) or stream.disposition & Disposition.attached_pic:
            continue
        count += len(stream.index_entries)
        if count > MAX_PACKETS:
            refuse_pieces()
        if isinstance(stream, VideoStream) and len(stream.index_entries) > MAX_FRAMES:
            raise _Unfit
        if max((entry.pos + entry.size for entry in stream.index_entries), default=size + 1) > size:
            raise _Unfit
        track = found[stream.index] = Track(stream)
        if isinstance(stream, AudioStream):
            _sound(container, stream, track)
        elif stream.id in tables:
            entries = [(e.pos, e.size, e.timestamp, e.is_keyframe, e.is_discard) for e in stream.index_entries]
            _picture(container, stream, entries, tables[stream.id], track)
            shown = [entry for entry in entries if not entry[4]]
            if track.gops:
                track.gops.whole = len(shown) == len(entries)
                _weigh(track.gops, shown, track.pts, file, alive)
            if track.captions:
                _listen(track.captions, shown, track.pts, file, alive)
        else:
            raise _Unfit
    return found


def _moov(file: int) -> bytes:
    """The box `moov`, wherever it stands."""
    at = 0
    while len(head := os.pread(file, 16, at)) >= 8:
        size, kind = struct.unpack_from(">I4s", head)
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
        if kind == b"moov" and 8 <= size <= MAX_MOOV:
            return os.pread(file, size, at)
        if size < 8:
            break
        at += size
    raise _Unfit


def _tables(file: Box) -> dict[int, Box]:
    """`stbl` of each track by its id, where the samples are all of one entry."""
    moov = file.need("moov")
    if moov.find("mvex"):
        raise _Unfit
    found = {}
    for trak in (box for box in moov.children() if box.kind == "trak"):
        tkhd, stbl = trak.need("tkhd"), trak.find("mdia/minf/stbl")
        if stbl and stbl.need("stsd").unpack(">I", 4) == (1,):
            found[tkhd.unpack(">I", 20 if tkhd.unpack(">B")[0] else 12)[0]] = stbl
    return found


def _sound(container: InputContainer, stream: AudioStream, track: Track) -> None:
    """The first and the last packet are enough; sound is shown when it is decoded."""
    entries = stream.index_entries
    first = next((entry.timestamp for entry in entries if not entry.is_discard), None)
    end = entries[len(entries) - 1].timestamp
    last = _packets(container, stream, end)
    if first is None or not last or last[-1].pts != end:
        raise _Unfit
    track.pts = track.keys = sorted({first, end})
    _reach(track, last)


def _picture(container: InputContainer, stream: VideoStream, entries: list[Entry], table: Box, track: Track) -> None:
    if _sizes(table.need("stsz"), len(entries)) != [entry[1] for entry in entries]:
        raise _Unfit
    pts = _times(container, stream, entries, _offsets(table.find("ctts"), len(entries)), track)
    track.pts = [stamp for stamp, entry in zip(pts, entries, strict=True) if not entry[4]]
    track.keys = [stamp for stamp, entry in zip(pts, entries, strict=True) if entry[3] and not entry[4]]


def _times(
    container: InputContainer, stream: VideoStream, entries: list[Entry], later: list[int], track: Track
) -> list[int]:
    """Presentation times, all moved by what the edit list and negative offsets come to: FFmpeg's own packets say how far."""
    first = _packets(container, stream, entries[0][2], COMPARED)
    if not first or first[0].pts is None:
        raise _Unfit
    shift = first[0].pts - entries[0][2] - later[0]
    pts = [entry[2] + offset + shift for entry, offset in zip(entries, later, strict=True)]
    key = max((number for number, entry in enumerate(entries) if entry[3]), default=0)
    last = _packets(container, stream, entries[key][2])
    _agree(pts[: len(first)], first)
    _agree(pts[len(pts) - len(last) :], last)
    _reach(track, last)
    return pts


def _reach(track: Track, packets: list[av.Packet[Any]]) -> None:
    for packet in packets:
        if packet.pts is not None and not packet.is_discard:
            track.reach(packet.pts, packet.duration)
    if not track.last_duration:
        raise _Unfit


def _agree(pts: list[int], packets: list[av.Packet[Any]]) -> None:
    if not packets or pts != [packet.pts for packet in packets]:
        raise _Unfit


def _packets(container: InputContainer, stream: Stream, dts: int, limit: int = LONGEST_END) -> list[av.Packet[Any]]:
    """FFmpeg's packets of one track from a key frame on."""
    only(container, [stream])
    container.seek(dts, stream=stream)
    found = list(islice((packet for packet in container.demux(stream) if packet.size), limit))
    if len(found) == LONGEST_END:
        raise _Unfit
    return found


def _sizes(stsz: Box, count: int) -> list[int]:
    same, total = stsz.unpack(">II", 4)
    if total < count:
        raise _Unfit
    if same:
        return [same] * count
    return _numbers(stsz, 12, count)


def _offsets(ctts: Box | None, count: int) -> list[int]:
    """How much later than it is decoded each frame is shown. Runs of equal offsets stand as (length, offset)."""
    if ctts is None:
        return [0] * count
    (runs,) = ctts.unpack(">I", 4)
    numbers = _numbers(ctts, 8, 2 * runs)
    found: list[int] = []
    for length, offset in zip(numbers[::2], numbers[1::2], strict=True):
        if len(found) >= count:
            break
        found += [offset - (offset >> 31 << 32)] * min(length, count - len(found))
    if len(found) < count:
        raise _Unfit
    return found


def _numbers(box: Box, at: int, count: int) -> list[int]:
    """`count` unsigned 32-bit numbers from byte `at` of a box's content."""
    start, end = box.body + at, box.body + at + 4 * count
    if end > box.end:
        raise Mp4Error(f"box {box.kind} is cut short")
    numbers = array("I", box.data[start:end])
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tolist()


def _weigh(gops: Gops, shown: list[Entry], pts: list[int], file: int, alive: Callable[[], None]) -> None:
    gops.pts, gops.sizes = pts, [entry[1] for entry in shown]
    for number, (pos, size, _, key, _) in enumerate(shown):
        alive()
        if key and not gops.key(number, _head(shown[number], file), size):
            gops.key(number, os.pread(file, size, pos))


def _listen(captions: CaptionData, shown: list[Entry], pts: list[int], file: int, alive: Callable[[], None]) -> None:
    """Caption data, if only padding, come with every picture or with none: a few places tell whether all must be looked at."""
    sample = CaptionData(captions.codec)
    step = max(1, len(shown) // PLACES)
    for number in {
        at for place in range(0, len(shown), step) for at in range(place, min(place + IN_A_ROW, len(shown)))
    }:
        sample.look(pts[number], _head(shown[number], file))
    for stamp, entry in zip(pts, shown, strict=True) if sample.present else ():
        alive()
        captions.look(stamp, _head(entry, file))


def _head(entry: Entry, file: int) -> bytes:
    return os.pread(file, min(entry[1], HEAD), entry[0])


def _text(container: InputContainer, alive: Callable[[], None]) -> dict[int, Track]:
    """Cues must be read, but nothing else with them."""
    streams = [stream for stream in container.streams if isinstance(stream, SubtitleStream)]
    if not streams:
        return {}
    only(container, streams)
    container.seek(0)
    return demuxed(container, alive, *streams)
