"""The steps of an encode that any process with the source and the plan can do, each by one child: a run of chunks, a sound track, a remux.

A step is a value that fits into JSON, so it can be handed to another machine. It may be done twice, at the same time even: each chunk's index is
created if absent and names one winner.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from packager import renditions, sandbox, workload
from packager.attempt import Attempt, Place, index_key
from packager.index import ChunkIndex
from packager.plan import Plan
from packager.sandbox import Limits
from storage.base import ObjectMissing, ObjectStore

PARALLEL_LOOKS = 8


@dataclass(frozen=True, slots=True)
class Step:
    """Chunks `first` to `last` of some renditions. `task` is the child's: chunk, remux, or audio, which makes one track in several rates."""

    task: str
    first: int
    last: int
    renditions: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique among the steps of a plan; in the order of names they come in the order of the film."""
        if self.task == "audio":
            return f"audio-{self.renditions[0].partition('-')[0]}"
        return f"{self.task}-{self.first:05d}-{self.last:05d}"

    @property
    def places(self) -> set[Place]:
        return {(name, chunk) for name in self.renditions for chunk in range(self.first, self.last + 1)}


class Crew(Protocol):
    """Whoever has steps done in this process and others, and returns when all are finished.

    The plan lies in storage under `prefix`. It calls `progressed` with the share of a step that is done, 0 to 1, and leaves with Cancelled soon after `halted` says so. Answers the
    count of damaged packets; raises what made a step fail.
    """

    def __call__(
        self,
        plan: Plan,
        prefix: str,
        wanted: Sequence[Step],
        progressed: Callable[[Step, float], None],
        halted: Callable[[], bool],
    ) -> int: ...


def sound(plan: Plan) -> list[Step]:
    """A step for each track, what is heard first before the others."""
    spans = renditions.spans(plan)
    tracks = sorted(plan.audio, key=lambda track: not track.default)
    made = [tuple(track.rendition(kbps) for kbps in track.kbps) for track in tracks]
    return [Step("audio", 0, len(spans[names[0]]) - 1, names) for names in made]


def remux(plan: Plan) -> list[Step]:
    """The source's own pictures, repackaged in one go: far faster than anybody watches."""
    passed = [rung.name for rung in plan.video.rungs if rung.passthrough] if plan.video else []
    return [Step("remux", 0, len(plan.video.chunks) - 1, (name,)) for name in passed if plan.video]


def picture(plan: Plan, *, shared: bool) -> list[Step]:
    """Runs of chunks in all rungs that are encoded."""
    names = tuple(rung.name for rung in plan.video.rungs if not rung.passthrough) if plan.video else ()
    if not plan.video or not names:
        return []
    return [Step("chunk", run[0].number, run[-1].number, names) for run in workload.runs(plan.video, shared=shared)]


def cost(plan: Plan, places: set[Place]) -> float:
    """Of some chunks, as `workload.total` counts. Sound costs nothing beside a picture."""
    if plan.video:
        return workload.cost(plan.video, {place for place in places if place[0].startswith("v")})
    return float(plan.duration) * len(places) / sum(len(spans) for spans in renditions.spans(plan).values())


def found(store: ObjectStore, prefix: str, places: set[Place]) -> Iterator[ChunkIndex]:
    """Those of the chunks that are finished."""

    def read(place: Place) -> ChunkIndex | None:
        try:
            return ChunkIndex.from_json(store.read(index_key(prefix, *place)))
        except ObjectMissing:
            return None

    with ThreadPoolExecutor(PARALLEL_LOOKS, thread_name_prefix="look") as pool:
        yield from filter(None, pool.map(read, sorted(places)))


class Maker:
    """Does steps of one plan. `cube` is the tone table's file, `halted` is asked often from any thread."""

    def __init__(
        self,
        source: Path,
        store: ObjectStore,
        prefix: str,
        plan: Plan,
        cube: str | None,
        limits: Limits,
        halted: Callable[[], bool],
    ) -> None:
        self._store, self._prefix, self._plan, self._limits, self._halted = store, prefix, plan, limits, halted
        self._spans = renditions.spans(plan)
        self.request = {"path": str(source.resolve()), "plan": plan.to_json().decode(), "cube": cube}

    def make(
        self,
        step: Step,
        done: Container[Place],
        *,
        finished: Callable[[ChunkIndex], None] = lambda index: None,
        progressed: Callable[[float], None] = lambda share: None,
    ) -> int:
        """Make what is not `done`; `finished` hears of each index that stands. The count of damaged packets. Raises Cancelled, EncodeFailed."""
        missing = {place for place in step.places if place not in done}
        if not missing:
            return 0
        what, frames = self._order(step, missing)
        return self._attempt(step.task, what, missing, finished, lambda made: progressed(min(1.0, made / frames)))

    def _order(self, step: Step, missing: set[Place]) -> tuple[dict[str, Any], int]:
        """What the child is told, and how many frames that makes."""
        names = sorted({name for name, _ in missing}, key=step.renditions.index)
        if step.task == "audio":
            track = next(track for track in self._plan.audio if track.rendition(track.kbps[0]) in step.renditions)
            return {"track": track.name, "rates": names}, track.frames
        assert self._plan.video
        first, last = min(chunk for _, chunk in missing), max(chunk for _, chunk in missing)
        chunks = self._plan.video.chunks
        what: dict[str, Any] = {"chunk": first, "through": last}
        return what | ({"rungs": names} if step.task == "chunk" else {}), chunks[last].last - chunks[first].first

    def _attempt(
        self,
        task: str,
        what: dict[str, Any],
        wanted: set[Place],
        finished: Callable[[ChunkIndex], None],
        progressed: Callable[[int], None],
    ) -> int:
        """Run one child and store what it makes; the indexes of its chunks name it the winner, or somebody else was faster."""
        with Attempt(self._store, self._prefix, wanted, self._spans, finished) as attempt:
            damaged: int | None = None
            for message in sandbox.run(task, {**self.request, **what}, limits=self._limits, cancelled=self._halted):
                if message.kind == "progress":
                    progressed(int(message.fields.get("frames") or 0))
                elif message.kind == "done":
                    damaged = int(message.fields.get("damaged") or 0)
                else:
                    attempt.take(message)
            if damaged is None:
                raise sandbox.nonsense("only a part")
            attempt.check()
            return damaged
