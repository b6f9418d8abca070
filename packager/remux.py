"""The source's own packets as the top rendition: put into our boxes a chunk at a time, never decoded. Runs in the child.

The probe has proved by the packet index and by the key packets that this is possible (passthrough.py). Here every packet passes by, so the rest
is proved too: all its NAL units fit, its parameter sets are the header's, no frame is missing. A source that breaks that promise ends in
EncodeFailed `not_passable`; it must be planned again without passthrough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise, zip_longest
from typing import Any

import av
import av.error
from av.video.stream import VideoStream

from packager import a53, fmp4, h264
from packager.child import Emitter
from packager.errors import EncodeFailed
from packager.gops import Header
from packager.ladder import Rung
from packager.passthrough import HOLD_S, NOT_PASSABLE
from packager.plan import Plan, VideoPlan
from packager.source import STEPS_BACK_S, open_source, packets
from packager.timeline import Chunk, Grid

# Parameter sets stand in the sample entry, delimiters are of no use in MP4, filler must not be stored (ISO/IEC 14496-15 §5.3.2).
LEFT_OUT = (h264.SPS, h264.PPS, h264.AUD, h264.FILLER)
Timed = tuple[int, "av.Packet[Any]"]
"""A slot and what is shown there."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame as it will be stored; `key`: it is an IDR."""

    slot: int
    data: bytes
    key: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures in decode order that are shown from slot `start` up to slot `end`."""

    start: int
    end: int
    pictures: list[Picture]


def run(request: dict[str, Any], emit: Emitter) -> None:
    """Request: path, plan (JSON), chunk (number), through (the last chunk's number, when more than one is to be made in a row).

    Emits `init`, `segment` and `progress` messages, then `done`, as chunk.py does.
    """
    plan = Plan.from_json(request["plan"]).video
    assert plan
    last = plan.chunks[request.get("through", request["chunk"])].last
    chunk = replace(plan.chunks[request["chunk"]], last=last)
    rung = next(rung for rung in plan.rungs if rung.passthrough)
    header = _header(request["path"], plan.index)
    emit("init", _init(plan, rung, header), rendition=rung.name, timescale=plan.grid.timescale)
    groups = _groups(_pictures(request["path"], plan, chunk, header, emit.alive), plan.grid, chunk)
    number, parts = chunk.segment, list[Group]()
    ends = {*plan.grid.segments, plan.grid.count}
    for group in groups:
        parts.append(group)
        if group.end in ends:
            _emit_segment(emit, plan.grid, rung, number, parts)
            emit("progress", frames=group.end - chunk.first)
            number, parts = number + 1, []
    emit("done", damaged=0)


def impassable(why: str) -> EncodeFailed:
    return EncodeFailed(NOT_PASSABLE, "The upload's own picture can't be kept", f"On a closer look, {why}.")


def _header(path: str, index: int) -> Header:
    with open_source(path) as container:
        context = container.streams[index].codec_context
        return Header.read(context.extradata if context else None)


def _init(plan: VideoPlan, rung: Rung, header: Header) -> bytes:
    delay = rung.reorder * plan.grid.frame
    track = fmp4.VideoTrack(plan.grid.timescale, rung.width, rung.height, header.avcc, plan.colour, delay)
    return fmp4.init_segment(track)


def _pictures(path: str, plan: VideoPlan, chunk: Chunk, header: Header, alive: Callable[[], None]) -> Iterator[Picture]:
    """The chunk's, in decode order. The film's first frame is shown from the start, wherever its own time is."""
    first = chunk.number == 0
    for slot, packet in _reaching(path, plan, chunk):
        alive()
        if slot >= chunk.last:
            return
        if slot >= chunk.first:
            yield _picture(0 if first else slot, bytes(packet), header)
            first = False


def _reaching(path: str, plan: VideoPlan, chunk: Chunk) -> Iterator[Timed]:
    """Packets from one not after the chunk's start on; a seek that lands too late is sent further back."""
    for back in STEPS_BACK_S if chunk.number else ():
        found = _timed(path, plan, chunk.seek, back)
        nearest = _first(found)
        if nearest and nearest[0] <= chunk.first:
            return chain([nearest], found)
    return _timed(path, plan, None, 0)


def _first(found: Iterator[Timed]) -> Timed | None:
    try:
        return next(found, None)
    except av.error.FFmpegError:  # a container that can't seek
        return None


def _timed(path: str, plan: VideoPlan, seek: int | None, back_s: int) -> Iterator[Timed]:
    with open_source(path) as container:
        stream = container.streams[plan.index]
        assert isinstance(stream, VideoStream) and stream.time_base
        if seek is not None:
            container.seek(seek - int(back_s / stream.time_base), stream=stream)
        slots, origin = stream.time_base * plan.grid.rate, plan.origin * plan.grid.rate
        for packet in packets(container, stream):
            if packet.pts is not None and packet.size:
                yield round(packet.pts * slots - origin), packet


def _picture(slot: int, packet: bytes, header: Header) -> Picture:
    """An access unit with lengths of four bytes, and without closed captions: the playlists say that there are none."""
    parts: list[bytes] = []
    key = False
    try:
        for unit in header.units(packet):
            kind = unit[0] & h264.TYPE
            key |= kind == h264.IDR
            if header.differs(unit):
                raise impassable("its coding parameters change on the way")
            kept = a53.without_captions(unit) if kind == h264.SEI else unit
            if kept and kind not in LEFT_OUT:
                parts += (len(kept).to_bytes(4, "big"), kept)
    except ValueError as error:
        raise impassable("some of its frames are damaged") from error
    return Picture(slot, b"".join(parts), key)


def _groups(pictures: Iterator[Picture], grid: Grid, chunk: Chunk) -> Iterator[Group]:
    """From each key frame of the plan to the next, proved to be whole."""
    keys = [slot for slot in grid.keys if chunk.first <= slot < chunk.last]
    found = _split(pictures, set(keys))
    for bounds, group in zip_longest(pairwise([*keys, chunk.last]), found):
        if not bounds or not group or not _whole(made := Group(bounds[0], bounds[1], group), grid):
            raise impassable("some of its frames are missing")
        yield made


def _split(pictures: Iterator[Picture], keys: set[int]) -> Iterator[list[Picture]]:
    group: list[Picture] = []
    for picture in pictures:
        if picture.slot in keys and group:
            yield group
            group = []
        group.append(picture)
    if group:
        yield group


def _whole(group: Group, grid: Grid) -> bool:
    """A key frame first, and a frame in each slot; only the film's first and last frame may be held."""
    slots = sorted(picture.slot for picture in group.pictures)
    held = HOLD_S * grid.rate + 1
    steps = (
        after - slot <= (held if slot == 0 or after == grid.count else 1) and after > slot
        for slot, after in pairwise([*slots, group.end])
    )
    return group.pictures[0].key and group.pictures[0].slot == group.start == slots[0] and all(steps)


def _emit_segment(emit: Emitter, grid: Grid, rung: Rung, number: int, groups: list[Group]) -> None:
    data, ranges = fmp4.segment([_fragment(group, grid, rung) for group in groups])
    start, end = grid.time(groups[0].start), grid.time(groups[-1].end)
    frames = [(*where, grid.time(group.start)) for where, group in zip(ranges, groups, strict=True)]
    emit("segment", data, rendition=rung.name, number=number, start=start, duration=end - start, iframes=frames)


def _fragment(group: Group, grid: Grid, rung: Rung) -> fmp4.Fragment:
    """The n-th frame that is decoded takes the time of the n-th that is shown; the delay makes up for what is shown before its turn."""
    times = [grid.time(slot) for slot in sorted(picture.slot for picture in group.pictures)]
    delay = rung.reorder * grid.frame
    samples = [
        fmp4.Sample(picture.data, after - time, grid.time(picture.slot) - time + delay, picture.key)
        for picture, (time, after) in zip(group.pictures, pairwise([*times, grid.time(group.end)]), strict=True)
    ]
    return fmp4.fragment(grid.keys.index(group.start) + 1, times[0], samples)
