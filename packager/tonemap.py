"""HDR to SDR as a 3D lookup table, which costs a frame one table walk instead of a path through linear light.

The mapping is display-referred: PQ (SMPTE ST 2084) or HLG (ITU-R BT.2100, with its system gamma for a 1000 nit screen) to light in units of
100 nits, BT.2020 to BT.709 primaries, Hable's curve on the largest channel so that hues stay, gamma 2.4 (BT.1886). This is what FFmpeg's
`zscale=t=linear:npl=100:agamma=0,zscale=p=bt709,tonemap=hable:desat=0,zscale=t=bt709` computes, but PyAV's FFmpeg has no zscale.

What BT.709 cannot show stays below 0 and above 1 in the table and is cut off after interpolation, by the filter. Cut off before, colours on the
edge of BT.709, which are common, would be mixed of a point that was cut off and one that was not: pale.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packager.plan import Plan

SIZE = 33  # points a side; PQ and HLG are close to perceptually even, so this is enough
REFERENCE_NITS = 100.0
HLG_PEAK_NITS = 1000.0
Light = tuple[float, float, float]

# BT.2020 to BT.709 in linear light (ITU-R BT.2087).
TO_709 = ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730))


@contextmanager
def table(plan: Plan) -> Iterator[str | None]:
    """The path of a file with the film's table while the block lasts; None for SDR. A child may read it, and may not write its own."""
    if not plan.video or plan.video.source_colour.dynamic_range == "sdr":
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tone-") as folder:
        path = Path(folder) / "tone.cube"
        path.write_text(cube(plan.video.source_colour.dynamic_range, plan.video.peak_nits))
        yield str(path)


def cube(transfer: str, peak_nits: float) -> str:
    """The table for "pq" or "hlg" in the .cube format (red fastest), both sides as R'G'B' in 0 to 1 where they can be shown."""
    lines = [f"LUT_3D_SIZE {SIZE}"]
    lines += [f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in _entries(transfer, peak_nits)]
    return "\n".join(lines) + "\n"


def _entries(transfer: str, peak_nits: float) -> Iterator[Light]:
    steps = [step / (SIZE - 1) for step in range(SIZE)]
    light = [_pq(step) if transfer == "pq" else _hlg(step) for step in steps]
    white = _hable(peak_nits / REFERENCE_NITS)
    for blue in light:
        for green in light:
            for red in light:
                yield _mapped(red, green, blue, transfer == "hlg", white)


def _mapped(red: float, green: float, blue: float, is_hlg: bool, white: float) -> Light:
    if is_hlg:
        red, green, blue = _displayed(red, green, blue)
    mapped = [row[0] * red + row[1] * green + row[2] * blue for row in TO_709]
    brightest = max(*mapped, 1e-6)
    scale = _hable(brightest) / white / brightest
    red, green, blue = (_coded(channel * scale) for channel in mapped)
    return red, green, blue


def _coded(light: float) -> float:
    """BT.1886 backwards, odd about 0."""
    return math.copysign(abs(light) ** (1 / 2.4), light)


def _pq(code: float) -> float:
    """Light of a PQ code value in units of REFERENCE_NITS (ST 2084, equation 4.1)."""
    power: float = code ** (1 / 78.84375)
    light: float = (max(power - 0.8359375, 0.0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    return 10000 / REFERENCE_NITS * light


def _hlg(code: float) -> float:
    """Scene light 0 to 1 of an HLG code value (BT.2100, inverse OETF)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return code * code / 3 if code <= 0.5 else (2.718281828459045 ** ((code - c) / a) + b) / 12


def _displayed(red: float, green: float, blue: float) -> Light:
    """The light a 1000 nit screen makes of HLG scene light (BT.2100, OOTF with gamma 1.2)."""
    luminance = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    gain = HLG_PEAK_NITS / REFERENCE_NITS * luminance**0.2
    return red * gain, green * gain, blue * gain


def _hable(light: float) -> float:
    """John Hable's filmic curve (Uncharted 2)."""
    a, b, c, d, e, f = 0.15, 0.50, 0.10, 0.20, 0.02, 0.30
    return (light * (light * a + b * c) + d * e) / (light * (light * a + b) + d * f) - e / f
