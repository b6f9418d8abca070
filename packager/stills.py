"""The poster: one good frame as a JPEG. Runs in the child.

"Good" is the candidate with the most detail: black frames, fades and plain title cards have little variance in their luma plane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, takewhile
from typing import Any

import av
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from packager.child import Emitter
from packager.facts import Colour
from packager.ladder import even
from packager.picture import Filters, prepared
from packager.plan import Plan, VideoPlan
from packager.source import Decoder, decoded, open_source, packets, prepare_decoder

# Not where key frames and titles like to be.
CANDIDATES = (Fraction(11, 100), Fraction(26, 100), Fraction(43, 100), Fraction(62, 100))
LONGEST_SIDE = 1280
SAMPLES = 4096
LONGEST_GOP = 150  # frames decoded for one candidate


def run(request: dict[str, Any], emit: Emitter) -> None:
    """Request: path, plan (JSON). Emits one `poster` message with a JPEG, or none when there is no picture at all."""
    plan = Plan.from_json(request["plan"])
    frame = (
        _best(request["path"], plan.video, request.get("cube")) if plan.video else _cover(request["path"], plan.cover)
    )
    if frame:
        emit("poster", _jpeg(frame), width=frame.width, height=frame.height)


def _best(path: str, plan: VideoPlan, cube: str | None) -> av.VideoFrame | None:
    frames = [frame for share in CANDIDATES if (frame := _at(path, plan, share, cube))]
    return _sized(max(frames, key=_detail)) if frames else None


def _at(path: str, plan: VideoPlan, share: Fraction, cube: str | None) -> av.VideoFrame | None:
    """The frame at a share of the duration, prepared as the top rung's frames are; in a very long GOP one before it."""
    seconds = plan.origin + share * Fraction(plan.grid.end, plan.grid.timescale)
    with open_source(path) as container:
        base = container.streams[plan.index].time_base
    assert base
    near = takewhile(
        lambda timed: timed[0] <= seconds, Decoder(path, plan.index).frames_before(int(seconds / base), seconds)
    )
    frame = next((frame for _, frame in deque(islice(near, LONGEST_GOP), maxlen=1)), None)
    return next(_all(prepared(plan, cube), frame), None) if frame else None


def _all(filters: Filters, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
    assert frame.time_base
    yield from filters(frame.time_base, frame)
    yield from filters.flush()


def _detail(frame: av.VideoFrame) -> float:
    luma = bytes(frame.planes[0])
    picked = luma[:: max(1, len(luma) // SAMPLES)]
    mean = sum(picked) / len(picked)
    return sum((value - mean) ** 2 for value in picked) / len(picked)


def _cover(path: str, index: int | None) -> av.VideoFrame | None:
    """An audio file's attached picture, if it can be decoded: no film fails for want of a cover."""
    if index is None:
        return None
    with open_source(path) as container:
        stream = container.streams[index]
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            return None
        prepare_decoder(stream, threads=1)
        found = (frame for packet in packets(container, stream) for frame in decoded(packet) or ())
        return next((_sized(frame) for frame in found), None)


def _sized(frame: av.VideoFrame) -> av.VideoFrame:
    """At most LONGEST_SIDE, full range BT.601 as JPEG wants it."""
    scale = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
    size = f"w={even(frame.width * scale)}:h={even(frame.height * scale)}"
    chain = [("scale", f"{size}:flags=lanczos:out_range=pc:out_color_matrix=bt601"), ("format", "yuvj420p")]
    colour = Colour(frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range == 2)
    return next(Filters(chain, colour)(Fraction(1, 25), frame))


def _jpeg(frame: av.VideoFrame) -> bytes:
    codec = av.CodecContext.create("mjpeg", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt, codec.time_base = frame.width, frame.height, "yuvj420p", Fraction(1, 25)
    codec.color_range = 2
    codec.qmin = codec.qmax = 4
    frame.pts, frame.pict_type = 0, 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
