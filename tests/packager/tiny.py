"""Tiny real packages: x264 and FFmpeg's AAC through PyAV, our boxes, our playlists; seconds of 160x90 instead of films."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import av
import numpy as np
from av.codec.context import Flags
from av.packet import Packet

from packager.fmp4 import AudioTrack, Colour, Sample, VideoTrack, avcc_from_annexb, length_prefixed

BT709 = Colour(1, 1, 1)
RATE = 48000
AAC_FRAME = 1024


def picture(width: int, height: int, number: int) -> av.VideoFrame:
    """A frame unlike its neighbours: a moving bar over a grey that walks with the frame number."""
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = 40 + number * 3 % 160
    planes[:height, number * 5 % width :][:, :12] = 230
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts = number
    return frame


@cache
def video(
    width: int = 160,
    height: int = 96,
    fps: Fraction = Fraction(30),
    frames: int = 360,
    options: tuple[tuple[str, str], ...] = (),
    times: tuple[int, ...] | None = None,
    timescale: int = 0,
) -> tuple[VideoTrack, tuple[Sample, ...]]:
    """Encode with B-frames and an IDR every round(2·fps) frames. `times` (PTS on `timescale`) make it a variable rate."""
    step = fps.denominator
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = 1 / fps, fps
    encoder.color_primaries = encoder.color_trc = encoder.colorspace = encoder.color_range = 1
    encoder.flags |= Flags.global_header
    gop = round(2 * fps)
    params = f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=3:threads=1"
    encoder.options = {
        "preset": "veryfast",
        "crf": "30",
        **dict(options),
        "x264-params": dict(options).get("x264-params", params),
    }
    packets: list[Packet[av.VideoStream]] = []
    for number in range(frames):
        packets += encoder.encode(picture(width, height, number))
    packets += encoder.encode(None)
    pts = times or tuple(number * step for number in range(frames))
    assert encoder.extradata
    shown = [packet.pts for packet in packets if packet.pts is not None]
    delay = max(pts[decode] - pts[number] for decode, number in enumerate(shown))
    track = VideoTrack(timescale or fps.numerator, width, height, avcc_from_annexb(encoder.extradata), BT709, delay)
    ends = (*pts[1:], pts[-1] + step)
    return track, tuple(
        Sample(length_prefixed(bytes(packet)), end - start, pts[number] - start + delay, packet.is_keyframe)
        for packet, number, start, end in zip(packets, shown, pts, ends, strict=True)
    )


@cache
def audio(
    seconds: float = 12, kbps: int = 128, channels: int = 2, language: str = "und", hertz: float = 440
) -> tuple[AudioTrack, tuple[Sample, ...]]:
    """A sine as AAC, its priming packet dropped, long enough to cover `seconds`."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE, layout, "fltp", kbps * 1000
    encoder.flags |= Flags.global_header
    count = -(-round(seconds * RATE) // AAC_FRAME)
    packets: list[Packet[av.AudioStream]] = []
    for number in range(count):
        at = np.arange(number * AAC_FRAME, (number + 1) * AAC_FRAME)
        wave = (np.sin(at * (2 * np.pi * hertz / RATE)) * 0.3).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.tile(wave, (channels, 1)), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, number * AAC_FRAME, Fraction(1, RATE)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    assert encoder.extradata
    track = AudioTrack(RATE, channels, RATE, encoder.extradata, kbps * 1000, language)
    kept = [packet for packet in packets if packet.pts is not None and packet.pts >= 0]
    return track, tuple(Sample(bytes(packet), AAC_FRAME) for packet in kept)
