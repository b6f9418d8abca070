"""Encode one audio track whole, at each of its bit rates, from one decode. Runs in the child.

Chunked audio clicks at the seams, so a track is one continuous encode. One filter chain mixes what was decoded to stereo, a second lays the
samples onto [0, D): late or missing sound becomes silence, gaps in the time stamps are filled, a long tail is cut. The second also applies the
track's one gain, which is measured before the encode begins, and measures what came of it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import av
import av.error
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.filter import Graph

from packager import fmp4, listen, loudness, stereo
from packager.child import Emitter
from packager.loudness import Loudness
from packager.plan import AAC_FRAME, AUDIO_RATE, AudioPlan, Plan
from packager.source import decoded, open_source, packets

PROGRESS_S = 0.5


def run(request: dict[str, Any], emit: Emitter) -> None:
    """Request: path, plan (JSON), track (name), rates (rendition names). Emits `init`, `segment` and `progress` messages, then `done`."""
    plan = next(track for track in Plan.from_json(request["plan"]).audio if track.name == request["track"])
    encoders = [RateEncoder(plan, kbps, emit) for kbps in plan.kbps if plan.rendition(kbps) in request["rates"]]
    measured = listen.measure(request["path"], plan, emit.alive) if plan.loudness is not None else None
    gain = loudness.gain(measured, plan.loudness) if plan.loudness is not None else 0.0
    source = Decoded(request["path"], plan, gain, emit.alive)
    reported = time.monotonic()
    for count, frame in enumerate(source.frames()):
        for encoder in encoders:
            encoder.encode(frame)
        if time.monotonic() - reported > PROGRESS_S:
            reported = time.monotonic()
            emit("progress", frames=count)
    heard = Loudness(measured, gain, loudness.lufs(source.answer)) if plan.loudness is not None else None
    for encoder in encoders:
        encoder.finish(heard)
    emit("done", damaged=source.damaged)


class Decoded:
    """Stereo frames of 1024 samples at 48 kHz, exactly `plan.frames` of them, `gain` decibels louder than the source."""

    def __init__(self, path: str, plan: AudioPlan, gain: float, alive: Callable[[], None]) -> None:
        self._path, self._plan, self._gain, self._alive = path, plan, gain, alive
        self.damaged = 0
        self.answer: str | None = None  # of the meter, about all frames so far

    def frames(self) -> Iterator[Any]:
        for frame in self._laid():
            self.answer = frame.metadata.get(listen.INTEGRATED, self.answer)
            yield frame

    def _laid(self) -> Iterator[Any]:
        timeline = _timeline(self._plan.frames * AAC_FRAME, self._gain)
        with contextlib.suppress(av.error.EOFError):  # it has all it wants; what follows is sound after the film's end
            for frame in self._stereo():
                timeline.push(frame)
                yield from stereo.pull(timeline)
            timeline.push(None)
        yield from stereo.pull(timeline)

    def _stereo(self) -> Iterator[Any]:
        frame = None
        for frame in stereo.mixed(self._decode()):
            yield frame
        if frame is None:  # nothing could be decoded after all: silence keeps the promise of the plan
            yield _silence()

    def _decode(self) -> Iterator[Any]:
        with open_source(self._path) as container:
            stream = container.streams[self._plan.index]
            assert isinstance(stream, AudioStream) and stream.time_base
            shift = round(self._plan.origin / stream.time_base)
            for packet in packets(container, stream):
                self._alive()
                frames = decoded(packet)
                self.damaged += frames is None
                for frame in frames or ():
                    if frame.pts is not None and frame.samples:
                        frame.pts -= shift
                        yield frame


def _timeline(total: int, gain: float) -> Graph:
    """Lays stereo samples onto [0, total), with their gain, and measures them."""
    plain = f"sample_fmts=fltp:sample_rates={AUDIO_RATE}"
    return stereo.graph(
        # async keeps sample count and time stamps together: it fills gaps and trims overlaps over 20 ms, and pads a late start.
        ("aresample", f"{AUDIO_RATE}:async=1:min_hard_comp=0.02:first_pts=0"),
        *loudness.filters(gain),
        ("aformat", plain),
        ("apad", f"whole_len={total}"),
        ("atrim", f"end_sample={total}"),
        listen.METER,
        ("aformat", plain),
        ("asetnsamples", f"{AAC_FRAME}"),
    )


def _silence() -> Any:
    frame = av.AudioFrame(format="fltp", layout="stereo", samples=AAC_FRAME)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
    return frame


class RateEncoder:
    """FFmpeg's AAC-LC encoder at one bit rate, its packets cut into segments."""

    def __init__(self, plan: AudioPlan, kbps: int, emit: Emitter) -> None:
        self._plan, self._kbps, self._emit = plan, kbps, emit
        self._codec = _codec(kbps)
        self._samples: list[fmp4.Sample] = []
        self._sent = self._number = self._given = 0
        track = fmp4.AudioTrack(AUDIO_RATE, 2, AUDIO_RATE, self._codec.extradata or b"", kbps * 1000, plan.language)
        emit("init", fmp4.init_segment(track), rendition=plan.rendition(kbps), timescale=AUDIO_RATE)

    def encode(self, frame: av.AudioFrame) -> None:
        frame.pts, frame.time_base = self._given * AAC_FRAME, Fraction(1, AUDIO_RATE)
        self._given += 1
        self._take(self._codec.encode(frame))

    def finish(self, heard: Loudness | None) -> None:
        self._take(self._codec.encode(None))
        if self._samples:
            self._close(loudness=asdict(heard) if heard else None)

    def _take(self, packets: list[av.Packet[Any]]) -> None:
        for packet in packets:
            # The encoder's first packet is priming (pts -1024): dropped, so that what plays at 0 is the source's first sample.
            if packet.pts is None or packet.pts < 0 or self._sent + len(self._samples) >= self._plan.frames:
                continue
            if len(self._samples) and self._sent + len(self._samples) in self._plan.cuts:
                self._close()
            self._samples.append(fmp4.Sample(bytes(packet), AAC_FRAME, 0, True))

    def _close(self, **more: Any) -> None:
        start = self._sent * AAC_FRAME
        data, _ = fmp4.segment([fmp4.fragment(self._number + 1, start, self._samples)])
        self._emit(
            "segment", data, rendition=self._plan.rendition(self._kbps), number=self._number, start=start,
            duration=len(self._samples) * AAC_FRAME, iframes=[], **more,
        )  # fmt: skip
        self._sent += len(self._samples)
        self._number += 1
        self._samples = []


def _codec(kbps: int) -> AudioCodecContext:
    codec = av.CodecContext.create("aac", "w")
    assert isinstance(codec, AudioCodecContext)
    codec.sample_rate, codec.layout, codec.format = AUDIO_RATE, "stereo", "fltp"
    codec.bit_rate = kbps * 1000
    codec.flags |= Flags.global_header | Flags.bitexact
    codec.open()
    return codec
