"""Which rungs a title gets: pure decisions from its size and rate.

Bit rates follow Apple's H.264 reference ladder (HLS Authoring Specification 1.25); they are ceilings held by the encoder's VBV buffer while
CRF spends less wherever the picture allows it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

HD = 720
MAX_RATE = Fraction(60)
# A rung below HD doesn't gain from more than 30 frames a second; players switch between whole and half rate without a seam.
HALF_RATE_BELOW, HALF_RATE_ABOVE = 540, Fraction(61, 2)


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the ladder: short side in pixels, ceiling in kb/s, quality aimed at (x264 CRF); x264's preset in place of our own settings."""

    short: int
    ceiling_kbps: int
    crf: float
    preset: str = ""


REFERENCE = (
    Step(234, 116, 25.0),  # with 48 kb/s audio and a full VBV buffer its peak stays under 192 kb/s (Apple 9.21)
    Step(360, 500, 24.0),
    Step(432, 1100, 23.0),
    Step(540, 2000, 23.0),
    Step(720, 3000, 23.5),
    Step(720, 4500, 21.0),
    Step(1080, 6000, 23.5),
    Step(1080, 7800, 21.0),
    Step(1440, 11600, 23.5),
    Step(1440, 14000, 21.0),
    Step(2160, 16800, 23.5),
    Step(2160, 22000, 21.0),
)
LOW = tuple({step.short: step for step in reversed(REFERENCE)}.values())[::-1]
HIGH = tuple({step.short: step for step in REFERENCE}.values())
BELOW_THE_TOP = (234, 360, 540, 720, 1080, 1440)
LONGEST = 4096  # pixels: what H.264 decoders in hardware take; a panorama is made smaller as a whole
APART = 1.15  # a rung nearer than this to the top would be a second encode of the same picture


@dataclass(frozen=True, slots=True)
class Rung:
    """One video rendition. Sizes in pixels, rates in kb/s; `step` 2 takes every second frame of the grid.

    A `passthrough` rung keeps the source's own packets, some of which are decoded up to `reorder` frames before they are shown."""

    name: str
    width: int
    height: int
    maxrate_kbps: int
    bufsize_kbps: int
    crf: float
    preset: str
    step: int
    passthrough: bool = False
    reorder: int = 0


def rungs(
    width: int,
    height: int,
    rate: Fraction,
    *,
    max_short: int = 1080,
    steps: tuple[Step, ...] = (),
    top: Rung | None = None,
) -> tuple[Rung, ...]:
    """The rungs for a title shown at `width` x `height` square pixels and `rate` frames/s, largest first. Never upscales.

    `steps` takes the place of the reference ladder. `top` is the source's own picture: nothing near its size is made below it, and what the
    reference would spend shrinks with the side, since a smaller picture at a higher rate is of no use.
    """
    short = min(width, height, max_short, max(1, LONGEST * min(width, height) // max(width, height)))
    chosen = _fitting(steps, min(width, height)) if steps else _reference(short)
    if top:
        chosen = [step for step in chosen if step.short * APART <= short]
    if top and not steps:
        share = Fraction(top.maxrate_kbps, short)
        chosen = [replace(step, ceiling_kbps=min(step.ceiling_kbps, round(share * step.short))) for step in chosen]
    halve = rate > HALF_RATE_ABOVE
    return tuple(_rung(step, width, height, halve) for step in reversed(chosen))


def _reference(short: int) -> list[Step]:
    steps = [step for step in LOW if step.short in BELOW_THE_TOP and step.short * APART <= short]
    return steps + ([_between(LOW, short), _between(HIGH, short)] if short >= HD else [_between(HIGH, short)])


def _fitting(steps: tuple[Step, ...], short: int) -> list[Step]:
    """Those that the source is large enough for, else the smallest at the source's own size."""
    rising = sorted(steps, key=lambda step: (step.short, step.ceiling_kbps))
    return [step for step in rising if step.short <= short] or [replace(rising[0], short=short)]


def step(short: int, ceiling_kbps: int) -> Step:
    """A line for a ladder of one's own, with the quality that the reference aims at nearest to it: its own lines come out as they are."""
    near = min(REFERENCE, key=lambda known: (abs(known.short - short), abs(known.ceiling_kbps - ceiling_kbps)))
    return Step(short, ceiling_kbps, near.crf)


def ceiling(short: int) -> int:
    """The most that the reference ladder spends on a picture of this size, kb/s."""
    return _between(HIGH, short).ceiling_kbps


def _between(line: tuple[Step, ...], short: int) -> Step:
    """A film keeps its own size at the top: the ceiling is interpolated by area between the table's neighbours."""
    lower = max((s for s in line if s.short <= short), key=lambda s: s.short, default=line[0])
    upper = min((s for s in line if s.short > short), key=lambda s: s.short, default=lower)
    if upper is lower or short <= lower.short:
        return Step(short, lower.ceiling_kbps, lower.crf)
    share = (short**2 - lower.short**2) / (upper.short**2 - lower.short**2)
    return Step(short, round(lower.ceiling_kbps + share * (upper.ceiling_kbps - lower.ceiling_kbps)), lower.crf)


def _rung(step: Step, width: int, height: int, halve: bool) -> Rung:
    scale = Fraction(step.short, min(width, height))
    size = even(width * scale), even(height * scale)
    return Rung(
        name=f"v{min(size)}-{step.ceiling_kbps}k",
        width=size[0],
        height=size[1],
        maxrate_kbps=step.ceiling_kbps,
        bufsize_kbps=step.ceiling_kbps * (1 if step.short <= REFERENCE[0].short else 2),
        crf=step.crf,
        preset=step.preset,
        step=2 if halve and step.short < HALF_RATE_BELOW else 1,
    )


def even(size: Fraction | float) -> int:
    """The even number nearest to `size`: 4:2:0 halves both sides."""
    return max(2, 2 * round(size / 2))
