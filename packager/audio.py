"""Encode one audio track whole, at each of its bit rates, from one decode. Runs in the child.

Chunked audio clicks at the seams, so a track is one continuous encode. The filter chain lays the samples onto [0, D): late or missing sound
becomes silence, gaps in the time stamps are filled, a long tail is cut.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.filter import Graph

from packager import fmp4
from packager.child import Emitter
from packager.plan import AAC_FRAME, AUDIO_RATE, AudioPlan, Plan
from packager.source import open_source

PROGRESS_S = 0.5


def run(request: dict[str, Any], emit: Emitter) -> None:
    """Request: path, plan (JSON), track (name), rates (rendition names). Emits `init`, `segment` and `progress` messages, then `done`."""
    plan = next(track for track in Plan.from_json(request["plan"]).audio if track.name == request["track"])
    encoders = [RateEncoder(plan, kbps, emit) for kbps in plan.kbps if plan.rendition(kbps) in request["rates"]]
    source = Decoded(request["path"], plan)
    reported = time.monotonic()
    for count, frame in enumerate(source.frames()):
        for encoder in encoders:
            encoder.encode(frame)
        if time.monotonic() - reported > PROGRESS_S:
            reported = time.monotonic()
            emit("progress", frames=count)
    for encoder in encoders:
        encoder.finish()
    emit("done", damaged=source.damaged)


class Decoded:
    """Stereo frames of 1024 samples at 48 kHz, exactly `plan.frames` of them."""

    def __init__(self, path: str, plan: AudioPlan) -> None:
        self._path, self._plan = path, plan
        self.damaged = 0

    def frames(self) -> Iterator[av.AudioFrame]:
        graph: Graph | None = None
        with open_source(self._path) as container:
            stream = container.streams[self._plan.index]
            assert isinstance(stream, AudioStream) and stream.time_base
            shift = round(self._plan.origin / stream.time_base)
            for frame in self._decode(container.demux(stream)):
                graph = graph or self._graph(frame, Fraction(stream.time_base))
                frame.pts -= shift
                graph.push(frame)
                yield from _pull(graph)
        if graph:
            graph.push(None)
            yield from _pull(graph)

    def _decode(self, packets: Iterator[av.Packet[AudioStream]]) -> Iterator[Any]:
        for packet in packets:
            try:
                yield from (frame for frame in packet.decode() if frame.pts is not None)
            except av.error.FFmpegError:
                self.damaged += 1

    def _graph(self, frame: av.AudioFrame, time_base: Fraction) -> Graph:
        total = self._plan.frames * AAC_FRAME
        graph = Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=frame.sample_rate, format=frame.format.name, layout=frame.layout.name, time_base=time_base
            ),
            # async keeps sample count and time stamps together: it fills gaps and trims overlaps over 20 ms, and pads a late start.
            graph.add("aresample", f"{AUDIO_RATE}:async=1:min_hard_comp=0.02:first_pts=0"),
            graph.add("aformat", f"sample_fmts=fltp:sample_rates={AUDIO_RATE}:channel_layouts=stereo"),
            graph.add("apad", f"whole_len={total}"),
            graph.add("atrim", f"end_sample={total}"),
            graph.add("asetnsamples", f"{AAC_FRAME}"),
            graph.add("abuffersink"),
        ).configure()
        return graph


def _pull(graph: Graph) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


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

    def finish(self) -> None:
        self._take(self._codec.encode(None))
        if self._samples:
            self._close()

    def _take(self, packets: list[av.Packet[Any]]) -> None:
        for packet in packets:
            # The encoder's first packet is priming (pts -1024): dropped, so that what plays at 0 is the source's first sample.
            if packet.pts is None or packet.pts < 0 or self._sent + len(self._samples) >= self._plan.frames:
                continue
            if len(self._samples) and self._sent + len(self._samples) in self._plan.cuts:
                self._close()
            self._samples.append(fmp4.Sample(bytes(packet), AAC_FRAME, 0, True))

    def _close(self) -> None:
        start = self._sent * AAC_FRAME
        data, _ = fmp4.segment([fmp4.fragment(self._number + 1, start, self._samples)])
        self._emit(
            "segment", data, rendition=self._plan.rendition(self._kbps), number=self._number, start=start,
            duration=len(self._samples) * AAC_FRAME, iframes=[],
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
