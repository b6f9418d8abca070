"""Opening a file that a stranger made. Runs in the child only.

FFmpeg guesses the format, and some "formats" (ffconcat, HLS, SDP, image sequences) are programs that read other files or the network. Only
the containers below are ever tried, whatever the name or the bytes say. Limits given to `av.open` don't reach a decoder, so they are set on
the codec context.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import av.error
import av.logging
from av.container import InputContainer
from av.video.stream import VideoStream

from packager.errors import SourceRefused

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,ogg,asf,mxf,flac,wav,mp3,aac,ac3,eac3"
MAX_PIXELS = 8192 * 8192 // 2  # 8K with room; a 12000 x 12000 picture is a bomb
MAX_STREAMS = 100


def open_source(path: str) -> InputContainer:
    """Open a local file as media or raise SourceRefused with a sentence an editor understands."""
    av.logging.set_level(None)
    try:
        container = av.open(
            f"file:{path}",
            options={"format_whitelist": FORMATS, "max_streams": str(MAX_STREAMS), "protocol_whitelist": "file"},
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise SourceRefused("not_media", "This is not a film we can read", _why(error)) from error
    return container


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


class Decoder:
    """Frames of one video track in presentation order from near a point, with what couldn't be decoded counted instead of fatal."""

    def __init__(self, path: str, index: int, threads: int = 0) -> None:
        self._path, self._index, self._threads = path, index, threads
        self.damaged = 0

    def frames(self, seek: int | None) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Yield (seconds, frame) from the key frame at or before `seek` (in the track's time base); None decodes from the first byte."""
        with open_source(self._path) as container:
            stream = container.streams[self._index]
            assert isinstance(stream, VideoStream)
            prepare_decoder(stream, self._threads)
            if seek is not None:
                container.seek(seek, stream=stream, backward=True)
            assert stream.time_base is not None
            for packet in container.demux(stream):
                for frame in self._decode(packet):
                    if frame.pts is not None:
                        yield frame.pts * (frame.time_base or stream.time_base), frame

    def _decode(self, packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
        try:
            return packet.decode()
        except av.error.InvalidDataError:
            self.damaged += 1
            return []
