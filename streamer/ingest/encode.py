"""The `encode` job: one step of a transcode, in whatever worker has time. All it needs are the source and the plan, both in storage."""

import time
from typing import Any

from packager import tonemap
from packager.errors import Cancelled, PackagerError
from packager.passthrough import NOT_PASSABLE
from packager.plan import Plan
from packager.sandbox import Limits
from packager.steps import Maker, Step, found
from storage import ObjectMissing
from streamer import config, db
from streamer.catalog.tables import Version
from streamer.ingest import scratch
from streamer.jobs import steps
from streamer.jobs.errors import TaskFailed, TaskStopped
from streamer.jobs.runner import Outcome, Task


def payload(prefix: str, step: Step) -> dict[str, Any]:
    """What the row of a step says."""
    what = {"task": step.task, "first": step.first, "last": step.last, "renditions": list(step.renditions)}
    return {"prefix": prefix, **what}


def run(task: Task) -> Outcome:
    """Make what is missing of the step; what it answers records how many packets of the source were damaged."""
    said = task.claim.payload
    step = Step(said["task"], said["first"], said["last"], tuple(said["renditions"]))
    try:
        damaged = _made(task, said["prefix"], step)
    except Cancelled:
        raise TaskStopped from None
    except PackagerError as error:
        # What can't be passed through never can: the film gets another plan.
        retryable = error.retryable and error.code != NOT_PASSABLE
        raise TaskFailed(error.code, error.title, error.detail, retryable=retryable) from error
    return lambda s: steps.record(s, task.claim, damaged=damaged)


def _made(task: Task, prefix: str, step: Step) -> int:
    services, (plan, version) = task.services, _orders(task, prefix)
    done = {(index.rendition, index.chunk) for index in found(services.store, prefix, step.places)}
    with (
        scratch.source(services, version.source_key, version.source_size, task.stopped) as path,
        tonemap.table(plan) as cube,
    ):
        maker = Maker(path, services.store, prefix, plan, cube, limits(services.config.packager), task.stopped)
        return maker.make(step, done, progressed=_Progress(task, plan, step))


def _orders(task: Task, prefix: str) -> tuple[Plan, Version]:
    with db.reading(task.services) as s:
        version = s.get_one(Version, task.subject_id)
    try:
        return Plan.from_json(task.services.store.read(f"{prefix}/plan.json")), version
    except ObjectMissing:
        raise TaskFailed(
            "plan_missing", "The film is gone", "There is nothing to encode any more.", retryable=False
        ) from None


class _Progress:
    """From the share of a step that is done, what people want to know."""

    def __init__(self, task: Task, plan: Plan, step: Step) -> None:
        self._task, self._since = task, time.monotonic()
        self._seconds = _seconds(plan, step)

    def __call__(self, share: float) -> None:
        taken = max(0.001, time.monotonic() - self._since)
        left = taken * (1 - share) / share if share else None
        self._task.report("encoding", 100 * share, left, share * self._seconds / taken)


def _seconds(plan: Plan, step: Step) -> float:
    """Of film."""
    if not plan.video or step.task == "audio":
        return float(plan.duration)
    grid, chunks = plan.video.grid, plan.video.chunks
    return (grid.time(chunks[step.last].last) - grid.time(chunks[step.first].first)) / grid.timescale


def limits(settings: config.Packager) -> Limits:
    """What a child may use."""
    return Limits(memory_bytes=settings.memory_bytes, stall_s=settings.stall_s)
