"""A transcode's steps shared out among all workers: rows in SQL that any of them takes, this one too while it waits.

The counter of a fan-in is the rows themselves: the job goes on when each of its steps has succeeded. Between two steps it makes way for films of
which nothing plays yet and for those of better plans: it goes back into the queue, and whoever takes it next finds all that is finished.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from packager.errors import Cancelled, EncodeFailed
from packager.passthrough import NOT_PASSABLE
from packager.plan import Plan
from packager.steps import Step
from streamer import db
from streamer.ingest import encode
from streamer.jobs import jobs, progress, queues, runner, steps, urgency, waiting, workers
from streamer.jobs.errors import TaskFailed, TaskPostponed
from streamer.jobs.runner import Task
from streamer.jobs.tables import Job, State
from streamer.jobs.urgency import Length

LOOK_S = 0.5
PATIENCE_S = 2.0
"""What is urgent waits so long for another worker before this one makes way."""
SHORT_S, LONG_S = 600, 3600
"""Films up to the one come before those up to the other, and those before all longer ones."""

Progressed = Callable[[Step, float], None]

log = structlog.get_logger(__name__)


@dataclass
class Crew:
    """See packager.steps.Crew. Its steps' rows are named after the plan's version, since a film may get another plan."""

    task: Task

    def __call__(
        self,
        plan: Plan,
        prefix: str,
        wanted: Sequence[Step],
        progressed: Progressed,
        halted: Callable[[], bool],
    ) -> int:
        mine = {f"{plan.version}/{step.name}": step for step in wanted}
        rows = self._offered(plan, prefix, mine)
        with _helper(self.task) as helper:
            while not all(row.state == State.SUCCEEDED for row in rows.values()):
                if halted():
                    raise Cancelled
                self._refuse_failed(rows.values())
                try:
                    self._help(helper, rows)
                    rows = self._rows(mine)
                except SQLAlchemyError as error:  # what is under way goes on without a database
                    log.warning("steps not seen", error=str(error))
                    time.sleep(LOOK_S)
                self._tell(rows, mine, progressed)
        return sum(int(row.payload.get("damaged", 0)) for row in rows.values())

    def _offered(self, plan: Plan, prefix: str, mine: Mapping[str, Step]) -> dict[str, Job]:
        claim, settings = self.task.claim, self.task.services.config.jobs
        priority = urgency.rest(claim.payload.get(jobs.LEVEL, 0), length(plan))
        wanted = {name: encode.payload(prefix, step) for name, step in mine.items()}

        def write(s: Session) -> None:
            steps.offer(s, claim, "encode", wanted, max_attempts=settings.max_attempts, priority=priority)
            if _are_long(mine.values()):
                steps.lower(s, claim, priority)

        self.task.write(write)
        rows = self._rows(mine)
        queues.dispatch(self.task.services, [row for row in rows.values() if row.state == State.QUEUED])
        return rows

    def _rows(self, mine: Mapping[str, Step]) -> dict[str, Job]:
        with db.reading(self.task.services) as s:
            return {row.step: row for row in steps.of(s, self.task.claim.job_id) if row.step and row.step in mine}

    def _help(self, helper: "_Helper", rows: Mapping[str, Job]) -> None:
        """Do the next step that nobody has, or wait a moment."""
        if not helper.busy:
            with db.reading(self.task.services) as s:
                ready = [row for row in steps.due(s, self.task.claim.job_id) if row.step in rows]
                self._make_way(s, ready)
            if ready:
                helper.begin(ready[0].id)
        helper.wait(LOOK_S)

    def _make_way(self, s: Session, ready: Sequence[Job]) -> None:
        """Not while something is in hand that would have to begin again, such as sound, which is made in one go."""
        long = any(row.payload["task"] == "chunk" for row in ready)
        mine = jobs.get(s, self.task.claim.job_id).priority
        if long and (waiting.is_urgent(s, mine, PATIENCE_S) or workers.is_paused(s, self.task.worker)):
            if not steps.are_running(s, self.task.claim, self.task.worker):
                log.info("making way")
                raise TaskPostponed(0)

    def _tell(self, rows: Mapping[str, Job], mine: Mapping[str, Step], progressed: Progressed) -> None:
        running = [row.id for row in rows.values() if row.state == State.RUNNING]
        known = progress.read(self.task.services.kv_sync, running)
        for name, row in rows.items():
            if row.state == State.SUCCEEDED:
                progressed(mine[name], 1.0)
            elif row.id in known:
                progressed(mine[name], known[row.id].percent / 100)

    def _refuse_failed(self, rows: Iterable[Job]) -> None:
        for row in rows:
            if row.state == State.CANCELLED:
                raise Cancelled
            if row.state == State.FAILED and row.error:
                code, title, detail = row.error["code"], row.error["title"], row.error["detail"]
                if code != NOT_PASSABLE:
                    raise TaskFailed(code, title, detail, retryable=False)  # it was tried as often as makes sense
                self.task.write(lambda s: steps.stop(s, self.task.claim))  # of this plan; there will be another
                raise EncodeFailed(code, title, detail)


def length(plan: Plan) -> Length:
    """How long the film is, as far as it decides whose turn it is."""
    return Length.SHORT if plan.duration <= SHORT_S else Length.MIDDLE if plan.duration <= LONG_S else Length.LONG


def _are_long(wanted: Iterable[Step]) -> bool:
    return any(step.task == "chunk" for step in wanted)


class _Helper:
    """Does one step at a time in a thread of its own."""

    def __init__(self, pool: ThreadPoolExecutor, task: Task) -> None:
        self.over = False
        self._pool, self._task = pool, task
        self._own: Future[None] | None = None

    @property
    def busy(self) -> bool:
        return self._own is not None and not self._own.done()

    def begin(self, step_id: str) -> None:
        self._own = self._pool.submit(self._perform, step_id)

    def wait(self, seconds: float) -> None:
        """Until the step is done, at most so long."""
        if self._own is None:
            time.sleep(seconds)
        else:
            wait([self._own], seconds)
            self._own = self._own if self.busy else None

    def _perform(self, step_id: str) -> None:
        task = self._task
        try:
            runner.perform(task.services, step_id, task.worker, leaving=lambda: self.over or task.stopped())
        except SQLAlchemyError as error:
            log.warning("step not begun", step=step_id, error=str(error))
            time.sleep(LOOK_S)


@contextmanager
def _helper(task: Task) -> Iterator[_Helper]:
    with ThreadPoolExecutor(1, thread_name_prefix="step") as pool:
        helper = _Helper(pool, task)
        try:
            yield helper
        finally:
            helper.over = True
