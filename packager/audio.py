"""Encode one audio track whole, at each of its bit rates, from one decode. Runs in the child.

Chunked audio clicks at the seams, so a track is one continuous encode. One filter chain mixes what was decoded to stereo, a second lays the
samples onto [0, D): late or missing sound becomes silence, gaps in the time stamps are filled, a long tail is cut.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
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
from packager.source import decoded, open_source, packets

PROGRESS_S = 0.5


def run(request: dict[str, Any], emit: Emitter) -> None:
    """Request: path, plan (JSON), track (name), rates (rendition names). Emits `init`, `segment` and `progress` messages, then `done`."""
    plan = next(track for track in Plan.from_json(request["plan"]).audio if track.name == request["track"])
    encoders = [RateEncoder(plan, kbps, emit) for kbps in plan.kbps if plan.rendition(kbps) in request["rates"]]
    source = Decoded(request["path"], plan, emit.alive)
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

    def __init__(self, path: str, plan: AudioPlan, alive: Callable[[], None]) -> None:
        self._path, self._plan, self._alive = path, plan, alive
        self.damaged = 0

    def frames(self) -> Iterator[Any]:
        timeline = _timeline(self._plan.frames * AAC_FRAME)
        with contextlib.suppress(av.error.EOFError):  # it has all it wants; what follows is sound after the film's end
            for frame in self._stereo():
                timeline.push(frame)
                yield from _pull(timeline)
            timeline.push(None)
        yield from _pull(timeline)

    def _stereo(self) -> Iterator[Any]:
        """Decoded frames mixed to stereo; broadcasts change their channels in mid-stream, so each layout gets a mixer of its own."""
        mixer: Graph | None = None
        shape: tuple[int, str, str] | None = None
        for frame in self._decode():
            if shape != (frame.sample_rate, frame.format.name, frame.layout.name):
                if mixer:
                    mixer.push(None)
                    yield from _pull(mixer)
                shape, mixer = (frame.sample_rate, frame.format.name, frame.layout.name), _mixer(frame)
            assert mixer
            mixer.push(frame)
            yield from _pull(mixer)
        if mixer:
            mixer.push(None)
            yield from _pull(mixer)
        else:  # nothing could be decoded after all: silence keeps the promise of the plan
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


def _mixer(frame: Any) -> Graph:
    """From one source layout to 48 kHz stereo."""
    time_base = Fraction(frame.time_base)
    graph = Graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate, format=frame.format.name, layout=frame.layout.name, time_base=time_base
    )
    stereo = f"sample_fmts=fltp:sample_rates={AUDIO_RATE}:channel_layouts=stereo"
    chain = [*_mix(frame.layout.nb_channels), ("aformat", stereo), ("asettb", f"1/{AUDIO_RATE}")]
    graph.link_nodes(source, *(graph.add(*node) for node in chain), graph.add("abuffersink")).configure()
    return graph


def _mix(channels: int) -> list[tuple[str, str]]:
    """FFmpeg's own mix would make mono 3 dB quieter, and let surround clip where its channels add up."""
    if channels == 1:
        return [("pan", "stereo|c0=c0|c1=c0")]
    if channels == 2:
        return []
    return [("aformat", "sample_fmts=fltp:channel_layouts=stereo"), ("alimiter", "limit=0.89:level=false:latency=true")]


def _timeline(total: int) -> Graph:
    """Lays stereo samples onto [0, total)."""
    graph = Graph()
    graph.link_nodes(
        graph.add_abuffer(sample_rate=AUDIO_RATE, format="fltp", layout="stereo", time_base=Fraction(1, AUDIO_RATE)),
        # async keeps sample count and time stamps together: it fills gaps and trims overlaps over 20 ms, and pads a late start.
        graph.add("aresample", f"{AUDIO_RATE}:async=1:min_hard_comp=0.02:first_pts=0"),
        graph.add("apad", f"whole_len={total}"),
        graph.add("atrim", f"end_sample={total}"),
        graph.add("asetnsamples", f"{AAC_FRAME}"),
        graph.add("abuffersink"),
    ).configure()
    return graph


def _silence() -> Any:
    frame = av.AudioFrame(format="fltp", layout="stereo", samples=AAC_FRAME)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
    return frame


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
