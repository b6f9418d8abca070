"""Published pictures of HDR films against the ffmpeg program, whose zscale goes through linear light and knows PQ, HLG and the gamuts by itself."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from packager.ladder import Step
from packager.pipeline import Options
from tests.packager import films
from tests.packager.encoding import PREFIX, encode_file
from tests.packager.media import tonemapped

SIZE = "size=320x180:rate=30:duration=0.2"
RAMPS = f"gradients={SIZE}:n=6:seed=7:c0=white:c1=red:c2=blue:c3=black:c4=lime:c5=yellow"
TRANSFERS = {"PQ": "smpte2084", "HLG": "arib-std-b67"}
# The source's own size at a quantizer that costs next to nothing: what differs comes from the tone mapping and from how chroma is scaled.
SHARP = Options(passthrough=False, ladder=(Step(180, 20_000, 4.0, "ultrafast"),))
LIKE = 0.95
EDGES = 5.0  # where every second pixel is an edge in chroma, two ways to scale chroma differ
HLG_BLUE = 600  # nits of white beside which the purest blue of BT.709 still is a code that HLG has


@dataclass(frozen=True)
class Hdr:
    """A pattern whose white is `nits` bright. Its colours fill the gamut: bt709 can all be shown, of bt2020 the purest cannot.

    `light` is MaxCLL. `off` is by how many of 256 levels a plane may differ in the mean: SSIM hardly sees a wrong gamma or a wrong peak.
    """

    pattern: str
    transfer: str
    nits: int
    gamut: str
    light: int = 0
    off: float = 3.0

    @property
    def peak(self) -> int:
        """What has to come out as white; 1000 nits where the file says nothing, and of HLG always."""
        return self.light or 1000


TABLE = {
    "PQ, all kinds of edges": Hdr(f"testsrc2={SIZE}", "PQ", 1000, "bt709", off=EDGES),
    "PQ, purest colours": Hdr(f"testsrc2={SIZE}", "PQ", 1000, "bt2020", off=EDGES),
    "PQ, bars": Hdr(f"smptehdbars={SIZE}", "PQ", 1000, "bt709"),
    "PQ, ramps": Hdr(RAMPS, "PQ", 1000, "bt709"),
    "PQ, ramps of the purest colours": Hdr(RAMPS, "PQ", 1000, "bt2020"),
    "PQ, no brighter than SDR": Hdr(RAMPS, "PQ", 100, "bt709"),
    "PQ, 4000 nits": Hdr(RAMPS, "PQ", 4000, "bt709", light=4000),
    "PQ, 4000 nits elsewhere in the film": Hdr(f"smptehdbars={SIZE}", "PQ", 1000, "bt709", light=4000),
    "HLG, all kinds of edges": Hdr(f"testsrc2={SIZE}", "HLG", HLG_BLUE, "bt709", off=EDGES),
    "HLG, purest colours": Hdr(f"testsrc2={SIZE}", "HLG", 1000, "bt2020", off=EDGES),
    "HLG, bars": Hdr(f"smptehdbars={SIZE}", "HLG", HLG_BLUE, "bt709"),
    "HLG, ramps": Hdr(RAMPS, "HLG", HLG_BLUE, "bt709"),
    "HLG, ramps of the purest colours": Hdr(RAMPS, "HLG", 1000, "bt2020"),
    "HLG, no brighter than paper": Hdr(RAMPS, "HLG", 203, "bt709"),
}


def ffmpeg(*arguments: str | Path) -> str:
    """What the program says on its way."""
    command = [get_ffmpeg_exe(), "-hide_banner", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stderr


def recorded(path: Path, hdr: Hdr) -> Path:
    """The pattern as lossless 10-bit HEVC in BT.2020."""
    tags = f"colorprim=bt2020:transfer={TRANSFERS[hdr.transfer]}:colormatrix=bt2020nc:range=limited"
    light = f":max-cll={hdr.light},100" if hdr.light else ""
    chain = (
        f"format=gbrp,zscale=pin={hdr.gamut}:tin=bt709:npl={hdr.nits}:agamma=0:"
        f"p=bt2020:t={TRANSFERS[hdr.transfer]}:m=bt2020nc:r=tv,format=yuv420p10le"
    )
    coded = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", f"lossless=1:pools=1:log-level=1:{tags}{light}")
    ffmpeg("-f", "lavfi", "-i", hdr.pattern, "-vf", chain, *coded, "-tag:v", "hvc1", "-y", path)
    return path


def compared(ours: Path, source: Path, hdr: Hdr, how: str) -> str:
    """What a filter says of our picture and the right one."""
    graph = f"[1:v]{tonemapped(hdr.peak)}[right];[0:v][right]{how}"
    return ffmpeg("-i", ours, "-i", source, "-filter_complex", graph, "-f", "null", "-")


def likeness(said: str) -> dict[str, float]:
    """SSIM of the planes Y, U and V, and of All."""
    return {plane: float(value) for plane, value in re.findall(r"\b(Y|U|V|All):([\d.]+)", said.rpartition("SSIM")[2])}


def levels(said: str) -> dict[str, float]:
    """Mean of what the planes of a picture of differences hold."""
    found = {plane: [float(value) for value in re.findall(rf"\.{plane}AVG=([\d.]+)", said)] for plane in "YUV"}
    return {plane: sum(values) / len(values) for plane, values in found.items()}


@pytest.mark.parametrize("hdr", TABLE.values(), ids=TABLE.keys())
def test_the_picture_is_what_the_path_through_linear_light_makes(hdr: Hdr, tmp_path: Path) -> None:
    source = recorded(tmp_path / "hdr.mp4", hdr)
    made = encode_file(source, tmp_path, films.PLAIN, SHARP)
    assert f"The picture was HDR ({hdr.transfer}); it was tone-mapped to SDR." in made.package.report["decisions"]
    (rung,) = made.kind("video")
    ours = tmp_path / "ours.mp4"
    ours.write_bytes(films.joined(made.store, PREFIX, rung.name))
    like = likeness(compared(ours, source, hdr, "ssim"))
    assert min(like.values()) >= LIKE, like
    off = levels(compared(ours, source, hdr, "blend=all_mode=difference,signalstats,metadata=mode=print"))
    assert max(off.values()) <= hdr.off, off
