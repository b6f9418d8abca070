"""Opening a file that a stranger made. Runs in the child only.

FFmpeg guesses the format, and some "formats" (ffconcat, HLS, SDP, image sequences) are programs that read other files or the network. Only
the containers below are ever tried, whatever the name or the bytes say. Limits given to `av.open` don't reach a decoder, so they are set on
the codec context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from heapq import heappop, heappush
from typing import Any

import av
import av.error
import av.logging
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from packager.errors import SourceRefused

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,ogg,asf,mxf,flac,wav,mp3,aac,ac3,eac3"
MAX_PIXELS = 8192 * 8192 // 2  # 8K with room; a 12000 x 12000 picture is a bomb
MAX_STREAMS = 100
REORDERED = 16  # H.264 and HEVC may show a frame at most this many frames after it was decoded
# For demuxers whose seek lands where decoding can't start (MPEG-TS finds a packet, not a key frame): try again this many seconds earlier.
STEPS_BACK_S = (0, 3, 15)


def open_source(path: str) -> InputContainer:
    """Open a local file as media or raise SourceRefused with a sentence an editor understands."""
    av.logging.set_level(None)
    # max_pixels here reaches the decoders that FFmpeg opens itself to find out about a stream, and only those.
    limits = {"max_streams": str(MAX_STREAMS), "max_pixels": str(MAX_PIXELS)}
    try:
        return av.open(
            f"file:{path}",
            options={"format_whitelist": FORMATS, "protocol_whitelist": "file", **limits},
            metadata_errors="replace",  # old files carry titles in any 8-bit code
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise SourceRefused("not_media", "This is not a film we can read", _why(error)) from error


def _why(error: Exception) -> str:
    return (
        "No supported container was recognised, or its index is missing or cut off. "
        f"Export it as MP4, MOV, MKV, WebM or MPEG-TS and upload it again (FFmpeg said: {getattr(error, 'strerror', None) or error})."
    )


def prepare_decoder(stream: VideoStream, threads: int = 0) -> None:
    """FRAME threads: PyAV's default keeps the decoder on slice threads, which are several times slower."""
    stream.thread_type = "FRAME"
    context = stream.codec_context
    context.thread_count = threads
    context.options = {"max_pixels": str(MAX_PIXELS)}


def packets(container: InputContainer, *streams: VideoStream | AudioStream) -> Iterator[Packet[Any]]:
    """A track's packets, or all. What can't be read ends it, as the end of the file would: the probe has judged how much is there."""
    try:
        yield from container.demux(*streams)
    except av.error.FFmpegError as error:
        _not_memory(error)


def only(container: InputContainer, streams: Iterable[Stream]) -> None:
    """FFmpeg passes over the bytes of tracks nobody asks for, where its demuxer can."""
    wanted = {stream.index for stream in streams}
    for stream in container.streams:
        stream.discard = Discard.default if stream.index in wanted else Discard.all


def decoded(packet: Packet[Any]) -> list[Any] | None:
    """A packet's frames; None when it is damaged."""
    try:
        return packet.decode()
    except av.error.FFmpegError as error:
        _not_memory(error)
        return None


def _not_memory(error: av.error.FFmpegError) -> None:
    """Running out of memory is no damage to step over: the file asks for too much."""
    if isinstance(error, MemoryError):
        raise error


class Decoder:
    """Frames of one video track in presentation order from near a point, with what couldn't be decoded counted instead of fatal."""

    def __init__(self, path: str, index: int, threads: int = 0, alive: Callable[[], None] = lambda: None) -> None:
        self._path, self._index, self._threads, self._alive = path, index, threads, alive
        self.damaged = 0

    def frames(self, seek: int | None) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Yield (seconds, frame) from the key frame at or before `seek` (in the track's time base); None decodes from the first byte."""
        with open_source(self._path) as container:
            stream = container.streams[self._index]
            assert isinstance(stream, VideoStream) and stream.time_base
            prepare_decoder(stream, self._threads)
            if seek is not None:
                container.seek(seek, stream=stream, backward=True)
            found = self._decode(container, stream)
            yield from _in_order(found, stream.time_base) if container.format.name == "avi" else found

    def frames_before(self, seek: int, start: Fraction) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Like `frames`, but sure to begin with a frame not after `start` seconds if the track has one: it seeks further back until it does."""
        with open_source(self._path) as container:
            base = container.streams[self._index].time_base
        assert base
        for back in [*(seek - int(step / base) for step in STEPS_BACK_S), None]:
            damaged = self.damaged
            frames = self.frames(back)
            first = _first_or_none(frames)
            if first and (first[0] <= start or back is None):
                yield first
                yield from frames
                return
            self.damaged = damaged

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        assert stream.time_base
        for packet in packets(container, stream):
            self._alive()
            pictures = decoded(packet)
            self.damaged += pictures is None
            for frame in pictures or ():
                if frame.pts is not None:
                    yield frame.pts * (frame.time_base or stream.time_base), frame


def _first_or_none(frames: Iterator[tuple[Fraction, av.VideoFrame]]) -> tuple[Fraction, av.VideoFrame] | None:
    try:
        return next(frames, None)
    except av.error.FFmpegError:  # a container that can't seek at all
        return None


def _in_order(
    frames: Iterator[tuple[Fraction, av.VideoFrame]], base: Fraction
) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """AVI stores no presentation times and FFmpeg's guesses are shuffled, but the decoder shows frames in order: sort the times, not the frames."""
    times: list[int] = []
    waiting: list[av.VideoFrame] = []
    for _, frame in frames:
        assert frame.pts is not None
        heappush(times, frame.pts)
        waiting.append(frame)
        if len(waiting) > REORDERED:
            yield _stamped(waiting.pop(0), heappop(times), base)
    for frame in waiting:
        yield _stamped(frame, heappop(times), base)


def _stamped(frame: av.VideoFrame, pts: int, base: Fraction) -> tuple[Fraction, av.VideoFrame]:
    frame.pts = pts
    return pts * base, frame
