"""From a decoder's frame to the frame that is encoded: deinterlaced, scaled, turned, in one colour space. Runs in the child."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import av.error
from av.filter import Graph

from packager.facts import Colour
from packager.plan import VideoPlan

# Lanczos keeps one to three VMAF points that bicubic loses on the lower rungs.
SCALER = "lanczos"
TURNS = {0: (), 90: (("transpose", "clock"),), 180: (("hflip", ""), ("vflip", "")), 270: (("transpose", "cclock"),)}
MATRICES = {1: "bt709", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}


class Filters:
    """A filter chain that rebuilds itself when the frames change shape in mid-stream."""

    def __init__(self, chain: Iterable[tuple[str, str]], colour: Colour) -> None:
        self._chain, self._colour = tuple(chain), colour
        self._shape: tuple[int, int, str] | None = None
        self._graph = Graph()

    def __call__(self, time_base: Fraction, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Push one frame, yield what comes out. Each result is a frame object of its own, so its stamps can be set freely."""
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            if self._shape:
                yield from self.flush()
            self._shape, self._graph = shape, self._build(frame, time_base)
        self._graph.vpush(frame)
        yield from self._pull()

    def flush(self) -> Iterator[av.VideoFrame]:
        if self._shape:
            self._graph.vpush(None)
            yield from self._pull()

    def _pull(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                yield self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    def _build(self, frame: av.VideoFrame, time_base: Fraction) -> Graph:
        graph = Graph()
        graph.threads = 1  # the rungs already run side by side
        source = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={time_base.numerator}/{time_base.denominator}"
            f":pixel_aspect=1/1:colorspace={self._colour.matrix}:range={2 if self._colour.full_range else 1}"
        )
        nodes = [graph.add("buffer", source)]
        nodes += [graph.add(name, arguments) if arguments else graph.add(name) for name, arguments in self._chain]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph


def prepared(plan: VideoPlan, cube: str | None = None) -> Filters:
    """The chain from the source's frames to the top rung's. HDR goes through the table in the file `cube` (see tonemap.py)."""
    deinterlace = [("bwdif", "mode=send_field:parity=auto:deint=all")] if plan.deinterlace else []
    size = f"w={plan.width}:h={plan.height}:flags={SCALER}"
    colour = f"out_range=tv:out_color_matrix={MATRICES[plan.colour.matrix]}"
    if cube:
        table = ("lut3d", f"file={cube}:interp=tetrahedral")
        scale = [("scale", size), ("format", "gbrp16le"), table, ("scale", colour)]
    else:
        scale = [("scale", f"{size}:{colour}{_gamut(plan)}")]
    return Filters(
        [*deinterlace, *scale, ("format", "yuv420p"), *TURNS[plan.rotation], ("setsar", "1")], plan.source_colour
    )


def _gamut(plan: VideoPlan) -> str:
    """A wide SDR gamut is brought into BT.709 by libswscale, through linear light."""
    wide = plan.source_colour.primaries not in (2, plan.colour.primaries)
    return ":out_primaries=bt709:out_transfer=bt709:intent=relative_colorimetric" if wide else ""


def scaled(width: int, height: int, colour: Colour) -> Filters:
    """From one rung's frames to the next smaller one's."""
    return Filters([("scale", f"w={width}:h={height}:flags={SCALER}")], colour)
