"""How much work an encode is, and how it is shared out among children: pure arithmetic on the plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from packager.ladder import Rung
from packager.plan import Plan, VideoPlan
from packager.timeline import Chunk

CORES_PER_CHILD = 6  # a child's rungs keep about so many busy
RUN_S = 60  # of film for one child: starting one costs about a second of CPU time
SHARES = 4  # of what is left, where several workers share a film: the last runs are short, so that all end at about the same time


def total(plan: Plan) -> tuple[float, float]:
    """The cost of a film and of a second of it. Sound counts only where there is no picture."""
    per_second = float(sum(_weight(rung) for rung in plan.video.rungs)) if plan.video else 1.0
    return float(plan.duration) * per_second, per_second


def cost(plan: VideoPlan, places: Iterable[tuple[str, int]]) -> float:
    """Of some chunks, each a rung's name and a number."""
    weights = {rung.name: _weight(rung) for rung in plan.rungs}
    return sum(_seconds(plan, plan.chunks[number]) * weights[name] for name, number in places)


def runs(plan: VideoPlan, *, shared: bool = False) -> Iterator[Sequence[Chunk]]:
    """All chunks, as many together as make RUN_S, or less near the end of a film that is shared."""
    first, seconds, left = 0, 0.0, sum(_seconds(plan, chunk) for chunk in plan.chunks)
    for following, chunk in enumerate(plan.chunks, 1):
        seconds += _seconds(plan, chunk)
        if seconds >= (min(RUN_S, left / SHARES) if shared else RUN_S) or following == len(plan.chunks):
            yield plan.chunks[first:following]
            first, seconds, left = following, 0.0, left - seconds


def _seconds(plan: VideoPlan, chunk: Chunk) -> float:
    return (plan.grid.time(chunk.last) - plan.grid.time(chunk.first)) / plan.grid.timescale


def _weight(rung: Rung) -> float:
    """What a second of a rung costs: its pixels, and next to nothing when they are passed through."""
    return rung.width * rung.height / rung.step * (0.01 if rung.passthrough else 1.0)
