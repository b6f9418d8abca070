"""Encode chunks that follow each other, in any of their rungs. Runs in the child.

The source is decoded once. Each rung has a thread that scales the frames of the rung above it, hands them on and encodes its own, so scaling
and encoding of all rungs overlap; PyAV releases the GIL in both. Queues are short: they bound memory and make the slowest rung set the pace.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
from av.codec.context import Flags, ThreadType
from av.video.codeccontext import VideoCodecContext

from packager import fmp4
from packager.child import Emitter
from packager.errors import SourceRefused
from packager.facts import Colour
from packager.ladder import Rung
from packager.picture import Filters, prepared, scaled
from packager.plan import Plan, VideoPlan
from packager.source import Decoder
from packager.timeline import Chunk, Grid
from packager.workload import CORES_PER_CHILD

QUEUE_FRAMES = 3
CORES = min(len(os.sched_getaffinity(0)), CORES_PER_CHILD)
BUSY = 1.5  # threads for each core: frames wait for the rows they refer to, and the largest rung holds up all others
THREAD_PIXELS = 300_000  # of a picture for each encoder thread, and what makes it a large one
PROGRESS_S = 0.2
I_FRAME = 1
# The plan alone places I frames, all of them IDR, identically in every rung. At a scene cut between them x264 codes blocks as intra anyway:
# looking for cuts costs 3 % of the time and made the benchmark's footage 2 % larger.
X264 = "keyint=infinite:min-keyint=1000000:scenecut=0:open-gop=0"
# Our own settings (docs/performance.md has the figures). Eight frames of look-ahead with macroblock-tree rate control are what superfast lacks most: without
# them it needs 22 % more bytes than veryfast for the same VMAF, with them 4 %. Every second frame a B frame, unasked, takes a fifth less of the
# encoder's time than up to three after a search; a quarter of a step of CRF makes up for the bytes.
PRESET, TUNED, CRF_OFFSET = "superfast", "mbtree=1:bframes=1:b-adapt=0", 0.25
LOOK_AHEAD, SMALL_LOOK_AHEAD = 8, 10  # frames; those of small pictures cost no memory to speak of
Timed = tuple[Fraction, av.VideoFrame]


def run(request: dict[str, Any], emit: Emitter) -> None:
    """Request: path, plan (JSON), chunk and through (the first and the last one's number), rungs (names), cube (a tone table's path for HDR).

    Emits `init`, `segment` and `progress` messages, then `done`.
    """
    plan = Plan.from_json(request["plan"]).video
    assert plan
    chunk = replace(plan.chunks[request["chunk"]], last=plan.chunks[request["through"]].last)
    rungs = [rung for rung in plan.rungs if rung.name in request["rungs"]]
    decoder = Decoder(request["path"], plan.index, alive=emit.alive)
    _feed(_laid(decoder, plan, chunk, request.get("cube")), _start(rungs, plan, chunk, emit), chunk, emit)
    emit("done", damaged=decoder.damaged)


def _laid(decoder: Decoder, plan: VideoPlan, chunk: Chunk, cube: str | None) -> Iterator[tuple[int, av.VideoFrame]]:
    """(slot, prepared frame) for every slot of the chunk: the latest frame not after the slot, else the first there is."""
    shown = _shown(decoder, plan, chunk, cube)
    current = next(shown, None)
    if current is None:
        raise SourceRefused(
            "undecodable", "The picture can't be decoded", "Not one frame of this part of the film could be decoded."
        )
    upcoming = next(shown, None)
    for slot in range(chunk.first, chunk.last):
        due = plan.origin + Fraction(plan.grid.time(slot) + plan.grid.tolerance, plan.grid.timescale)
        while upcoming and upcoming[0] <= due:
            current, upcoming = upcoming, next(shown, None)
        yield slot, current[1]


def _shown(decoder: Decoder, plan: VideoPlan, chunk: Chunk, cube: str | None) -> Iterator[Timed]:
    """Prepared frames from the last one not after the chunk's start on; what only pre-rolls is decoded but never scaled."""
    filters = prepared(plan, cube)
    start = plan.origin + Fraction(plan.grid.time(chunk.first) + plan.grid.tolerance, plan.grid.timescale)
    waiting: Timed | None = None
    for stamp, frame in _covering(decoder, chunk, start):
        if waiting and stamp > start:
            yield from _through(filters, waiting)
        if waiting and stamp <= start and plan.deinterlace:
            yield from _through(filters, waiting)  # bwdif looks at neighbours: let it see them
        waiting = (stamp, frame)
    if waiting:
        yield from _through(filters, waiting)
    yield from _stamped(filters.flush())


def _covering(decoder: Decoder, chunk: Chunk, start: Fraction) -> Iterator[Timed]:
    """The first chunk is decoded from the first byte on, any other from a key frame not after its start."""
    return decoder.frames_before(chunk.seek, start) if chunk.number else decoder.frames(None)


def _through(filters: Filters, timed: Timed) -> Iterator[Timed]:
    frame = timed[1]
    assert frame.time_base
    return _stamped(filters(frame.time_base, frame))


def _stamped(frames: Iterator[av.VideoFrame]) -> Iterator[Timed]:
    for frame in frames:
        assert frame.pts is not None and frame.time_base
        yield frame.pts * frame.time_base, frame


def _start(rungs: Sequence[Rung], plan: VideoPlan, chunk: Chunk, emit: Emitter) -> list[RungThread]:
    """Threads from the largest rung to the smallest, each feeding the next."""
    threads: list[RungThread] = []
    for rung in reversed(rungs):
        encoder = RungEncoder(rung, plan, chunk, emit, encoder_threads(rung, rungs, CORES))
        threads.insert(0, RungThread(rung, plan.colour, encoder, threads[0] if threads else None))
    for thread in threads:
        thread.start()
    return threads


def _feed(frames: Iterator[tuple[int, av.VideoFrame]], threads: list[RungThread], chunk: Chunk, emit: Emitter) -> None:
    reported = time.monotonic()
    try:
        for slot, frame in frames:
            if not threads[0].take((slot, frame)):
                break
            if time.monotonic() - reported > PROGRESS_S:
                reported = time.monotonic()
                emit("progress", frames=slot - chunk.first)
    finally:
        threads[0].take(None)
        for thread in threads:
            thread.join()
    for thread in threads:
        if thread.error:
            raise thread.error


class RungThread(threading.Thread):
    """Scales, hands on, encodes. An error anywhere drains the queue, so that nobody above blocks for ever."""

    def __init__(self, rung: Rung, colour: Colour, encoder: RungEncoder, below: RungThread | None) -> None:
        super().__init__(name=rung.name, daemon=True)
        self.error: BaseException | None = None
        self._rung, self._encoder, self._below = rung, encoder, below
        self._queue: queue.Queue[tuple[int, av.VideoFrame] | None] = queue.Queue(QUEUE_FRAMES)
        self._scale = scaled(rung.width, rung.height, colour)

    def take(self, item: tuple[int, av.VideoFrame] | None) -> bool:
        """Queue a frame, or the end; False when this rung has failed."""
        self._queue.put(item)
        return self.error is None

    def run(self) -> None:
        try:
            while item := self._queue.get():
                self._one(*item)
        except BaseException as error:  # carried to the main thread
            self.error = error
            while self._queue.get():
                pass
        if self._below:
            self._below.take(None)  # first, so that all rungs empty their encoders side by side
        self._finish()

    def _finish(self) -> None:
        try:
            if not self.error:
                self._encoder.finish()
        except BaseException as error:
            self.error = error

    def _one(self, slot: int, frame: av.VideoFrame) -> None:
        assert frame.time_base
        for picture in self._scale(frame.time_base, frame):
            if self._below and not self._below.take((slot, picture)):
                assert self._below.error
                raise self._below.error
            if slot % self._rung.step == 0:
                self._encoder.encode(slot, picture)


class RungEncoder:
    """x264 for one rung, and its packets cut into GOP fragments and segments."""

    def __init__(self, rung: Rung, plan: VideoPlan, chunk: Chunk, emit: Emitter, threads: int) -> None:
        self._rung, self._grid, self._chunk, self._emit, self._plan = rung, plan.grid, chunk, emit, plan
        self._keys, self._cuts = set(plan.grid.keys), set(plan.grid.segments)
        self._codec = _codec(rung, plan, threads)
        self._announced = False
        self._delay = plan.grid.delay(rung.step)
        # Decode times are the sorted presentation times, so the n-th packet takes the n-th slot's time.
        self._slots = iter(range(-(-chunk.first // rung.step) * rung.step, chunk.last, rung.step))
        self._gop: list[fmp4.Sample] = []
        self._gop_slot = self._segment_slot = chunk.first
        self._fragments: list[fmp4.Fragment] = []
        self._starts: list[int] = []
        self._number = chunk.segment

    def encode(self, slot: int, frame: av.VideoFrame) -> None:
        frame.pts, frame.time_base = self._grid.time(slot), Fraction(1, self._grid.timescale)
        frame.pict_type = I_FRAME if slot in self._keys else 0  # a decoder leaves the source's own types on its frames
        for packet in self._codec.encode(frame):
            self._packet(packet)

    def finish(self) -> None:
        for packet in self._codec.encode(None):
            self._packet(packet)
        self._close_gop()
        self._close_segment(self._chunk.last)

    def _packet(self, packet: av.Packet[Any]) -> None:
        slot = next(self._slots)
        if packet.is_keyframe != (slot in self._keys):
            raise RuntimeError(f"{self._rung.name}: a key frame is not where the plan has it (slot {slot})")
        if slot in self._keys and self._gop:
            self._close_gop()
            if slot in self._cuts:
                self._close_segment(slot)
        if not self._gop:
            self._gop_slot = slot
        assert packet.pts is not None
        start = self._grid.time(slot)
        duration = self._grid.time(min(slot + self._rung.step, self._grid.count)) - start
        self._gop.append(
            fmp4.Sample(
                fmp4.length_prefixed(bytes(packet)), duration, packet.pts - start + self._delay, packet.is_keyframe
            )
        )

    def _close_gop(self) -> None:
        start = self._grid.time(self._gop_slot)
        sequence = self._grid.keys.index(self._gop_slot) + 1
        self._fragments.append(fmp4.fragment(sequence, start, self._gop))
        self._starts.append(start)
        self._gop = []

    def _close_segment(self, following: int) -> None:
        self._announce()
        data, ranges = fmp4.segment(self._fragments)
        start = self._grid.time(self._segment_slot)
        frames = [(*where, begin) for where, begin in zip(ranges, self._starts, strict=True)]
        self._emit(
            "segment",
            data,
            rendition=self._rung.name,
            number=self._number,
            start=start,
            duration=self._grid.time(following) - start,
            iframes=frames,
        )
        self._fragments, self._starts, self._segment_slot = [], [], following
        self._number += 1

    def _announce(self) -> None:
        """The init segment, once: x264 has its parameter sets as soon as it is open."""
        if not self._announced:
            self._announced = True
            assert self._codec.extradata
            avcc = fmp4.avcc_from_annexb(self._codec.extradata)
            track = fmp4.VideoTrack(
                self._grid.timescale, self._rung.width, self._rung.height, avcc, self._plan.colour, self._delay
            )
            self._emit("init", fmp4.init_segment(track), rendition=self._rung.name, timescale=self._grid.timescale)


def encoder_threads(rung: Rung, rungs: Sequence[Rung], cores: int) -> int:
    """x264's frame threads: its share of the cores by its pixels. More than a small picture has rows for would cost its rate control the view ahead."""
    share = _work(rung) / sum(_work(other) for other in rungs)
    return max(1, min(round(share * cores * BUSY), rung.width * rung.height // THREAD_PIXELS))


def _work(rung: Rung) -> float:
    return rung.width * rung.height / rung.step


def _codec(rung: Rung, plan: VideoPlan, threads: int) -> VideoCodecContext:
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = rung.width, rung.height, "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, plan.grid.timescale), _rate(plan.grid, rung.step)
    codec.sample_aspect_ratio = Fraction(1)
    # Tags are copied by hand: nothing in PyAV carries them from frame to encoder, and a lost tag shifts every colour.
    codec.color_primaries, codec.color_trc = plan.colour.primaries, plan.colour.transfer
    codec.colorspace, codec.color_range = plan.colour.matrix, 1
    # PyAV's default is slices: x264 would cut each picture for its threads, which costs bits and waits for the slowest slice.
    codec.thread_count, codec.thread_type = threads, ThreadType.FRAME
    codec.flags |= Flags.global_header | Flags.bitexact | Flags.closed_gop
    codec.options = options(rung)
    codec.open()
    return codec


def _rate(grid: Grid, step: int) -> Fraction:
    return (grid.rate / step).limit_denominator(60000)


def options(rung: Rung) -> dict[str, str]:
    """x264's settings for a rung, each for a reason. A rung's CRF is meant for x264's own presets, which a rung may name."""
    return {
        "preset": rung.preset or PRESET,
        "profile": "high",  # Apple 1.4: High is preferred; every player of the last ten years decodes it
        "crf": str(rung.crf + (0 if rung.preset else CRF_OFFSET)),
        "maxrate": f"{rung.maxrate_kbps}k",
        "bufsize": f"{rung.bufsize_kbps}k",
        "a53cc": "0",  # closed captions are a rendition of their own, and the playlists say that the picture has none
        "forced-idr": "1",  # our I frames are IDR frames: a segment must start with one
        "x264-params": X264 if rung.preset else f"{X264}:{TUNED}:rc-lookahead={_look_ahead(rung)}",
    }


def _look_ahead(rung: Rung) -> int:
    return LOOK_AHEAD if rung.width * rung.height > THREAD_PIXELS else SMALL_LOOK_AHEAD
