"""How loud a track is, found out before it is encoded. Runs in the child.

Measured is the stereo mix that will be encoded, all of a short track, windows of a long one: a pass over two hours of sound would keep the first
viewer waiting, and the gain can't change later. The same file always gives the same answer, so an encode that goes on uses the gain it began
with. Cost: a minute of sound is decoded, 0.2 s of one core for AAC. A film whose few loud moments lie between the windows is taken for quieter
than it is. A file in which nothing can be found by seeking is judged by its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from packager import loudness, stereo
from packager.plan import AUDIO_RATE, AudioPlan
from packager.source import decoded, only, open_source, packets

METER = ("ebur128", "metadata=1:framelog=quiet")  # ten times a second it hangs what it knows on a frame
INTEGRATED = "lavfi.r128.I"
FAR_S = 60  # a seek lands on a key frame before the window; further away is no seek, and each window would read the whole file
Window = tuple[float, float]


def measure(path: str, plan: AudioPlan, alive: Callable[[], None]) -> float | None:
    """LUFS of a track's part in the film; None for silence and for what is too short to tell."""
    meter = _Meter()
    for sought in (True, False):
        if not meter.samples:
            with open_source(path) as container:
                if "mp4" in container.format.name.split(
                    ","
                ):  # it goes by tables; others have to pass by the picture to know where they are
                    only(container, [container.streams[plan.index]])
                for window in _windows(plan, sought):
                    meter.hear(stereo.mixed(_frames(container, plan.index, window, sought, alive)))
    return loudness.lufs(meter.answer)


def _windows(plan: AudioPlan, sought: bool) -> list[Window]:
    start, end = map(float, plan.heard)
    return loudness.windows(start, end if sought else min(end, start + loudness.WHOLE_S))


def _frames(
    container: InputContainer, index: int, window: Window, sought: bool, alive: Callable[[], None]
) -> Iterator[Any]:
    stream = container.streams[index]
    assert isinstance(stream, AudioStream)
    if sought and not _seek(container, window[0]):
        return
    for packet in _within(container, index, window, sought):
        alive()
        for frame in decoded(packet) or ():
            if frame.pts is not None and frame.samples:
                yield frame


def _seek(container: InputContainer, to: float) -> bool:
    """Not by the track itself: Matroska's index has only key frames of the picture."""
    try:
        container.seek(round(to * 1_000_000))
    except av.error.FFmpegError:
        return False
    return True


def _within(container: InputContainer, index: int, window: Window, sought: bool) -> Iterator[Packet[Any]]:
    """The track's packets in a window. The other tracks are read as well: they tell where the file is when this one is silent."""
    start, end = window
    bases = [float(stream.time_base or 0) for stream in container.streams]  # fractions are slow for that many packets
    for packet in packets(container):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            continue
        at, ours = stamp * bases[packet.stream_index], packet.stream_index == index
        if at >= (end if ours else end + FAR_S) or (ours and sought and at < start - FAR_S):
            return
        if ours and at >= start:
            yield packet


class _Meter:
    """FFmpeg's ebur128 over pieces of sound, one after the other."""

    def __init__(self) -> None:
        self._graph = stereo.graph(METER)
        self.samples = 0
        self.answer: str | None = None

    def hear(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            frame.pts, frame.time_base = self.samples, Fraction(1, AUDIO_RATE)
            self.samples += frame.samples
            self._graph.push(frame)
            for heard in stereo.pull(self._graph):
                self.answer = heard.metadata.get(INTEGRATED, self.answer)
