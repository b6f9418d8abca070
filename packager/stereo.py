"""Whatever a decoder gives, as stereo at 48 kHz. Runs in the child."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
from av.filter import Graph

from packager.plan import AUDIO_RATE


def mixed(frames: Iterable[Any]) -> Iterator[Any]:
    """Decoded frames mixed to stereo; broadcasts change their channels in mid-stream, so each layout gets a mixer of its own."""
    mixer: Graph | None = None
    shape: tuple[int, str, str] | None = None
    for frame in frames:
        if shape != (frame.sample_rate, frame.format.name, frame.layout.name):
            yield from _rest(mixer)
            shape, mixer = (frame.sample_rate, frame.format.name, frame.layout.name), _mixer(frame)
        assert mixer
        mixer.push(frame)
        yield from pull(mixer)
    yield from _rest(mixer)


def graph(*nodes: tuple[str, str]) -> Graph:
    """Filters over stereo as `mixed` gives it."""
    made = Graph()
    source = made.add_abuffer(sample_rate=AUDIO_RATE, format="fltp", layout="stereo", time_base=Fraction(1, AUDIO_RATE))
    made.link_nodes(source, *(made.add(*node) for node in nodes), made.add("abuffersink")).configure()
    return made


def pull(graph: Graph) -> Iterator[Any]:
    """Every frame that is ready."""
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _rest(mixer: Graph | None) -> Iterator[Any]:
    if mixer:
        mixer.push(None)
        yield from pull(mixer)


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
