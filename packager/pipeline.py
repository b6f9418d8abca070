"""The steps of an encode in order, resumable: probe, plan, chunks beside sound and poster, playlists, report.

Nothing is named before it is there: segments come first, then the chunk's index, then the stages' playlists (see stages.py), and `master.m3u8`
last. Killed at any point and started again with the same source and options, it finds the finished chunks by their indexes and encodes only the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from packager import plan as planning
from packager import renditions, reuse, sandbox, steps, tonemap, workload
from packager.attempt import IMMUTABLE, Place, finished_chunks, sweep
from packager.errors import Cancelled, EncodeFailed, PackagerError, SourceRefused
from packager.facts import SourceFacts
from packager.index import ChunkIndex
from packager.meter import Meter, Progress
from packager.passthrough import NOT_PASSABLE
from packager.plan import Options, Plan
from packager.publish import Package, publish
from packager.sandbox import LIMITS, Limits
from packager.stages import Published, Stages
from packager.steps import Crew, Maker, Step
from storage.base import ObjectExists, ObjectMissing, ObjectStore

PROBE_LIMITS = sandbox.Limits(memory_bytes=2 << 30, cpu_s=1800)
DEFAULTS = Options()
HASH_BLOCK = 4 << 20
UNCAUGHT = 2.0  # seconds of film per second: slower than this, all rungs together are caught up by a viewer (see timeline.chunks)
LOOK_S = 1.0  # between two looks at what others finished
WATCHED_S = 0.5  # between two looks at whether anybody watches
BEGINNING_S = 3.0  # the first stage has the cores to itself for so long, unless it is there sooner
FIRST_CHILDREN = 2  # picture and sound begin at once
CORES = len(os.sched_getaffinity(0))
FACTS: TypeAdapter[SourceFacts] = TypeAdapter(SourceFacts)


@dataclass(frozen=True, slots=True)
class Orders:
    """What the caller wants to be told and asked, from any thread, what a child may use, and packages to take renditions from."""

    report: Callable[[Progress], None]
    published: Callable[[Published], None]
    cancelled: Callable[[], bool]
    watched: Callable[[], bool]
    limits: Limits
    packages: Sequence[str]
    crew: Crew | None


def probe(source: Path, *, cancelled: Callable[[], bool] = lambda: False) -> SourceFacts:
    """Facts of a source, read in a child process. Raises SourceRefused or EncodeFailed."""
    _refuse_unreadable(source)
    for message in sandbox.run("probe", {"path": str(source.resolve())}, limits=PROBE_LIMITS, cancelled=cancelled):
        if message.kind == "facts":
            try:
                return FACTS.validate_python(message.fields.get("facts"))
            except ValueError as error:
                raise sandbox.nonsense("facts that make no sense") from error
    raise sandbox.nonsense("no facts")


def _refuse_unreadable(source: Path) -> None:
    try:
        if not stat.S_ISREG(source.stat().st_mode):  # opening a pipe would wait for ever
            raise SourceRefused("no_such_file", "The file can't be opened", f"{source}: not a file.")
        with source.open("rb"):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SourceRefused("no_such_file", "The file can't be opened", f"{source}: {why}.") from error


def encode(
    source: Path,
    store: ObjectStore,
    prefix: str | Callable[[str], str],
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    published: Callable[[Published], None] = lambda news: None,
    cancelled: Callable[[], bool] = lambda: False,
    watched: Callable[[], bool] = lambda: False,
    options: Options = DEFAULTS,
    limits: Limits = LIMITS,
    source_sha256: str | None = None,
    packages: Sequence[str] = (),
    crew: Crew | None = None,
) -> Package:
    """Make a film's HLS package under `prefix` (or under what `prefix` answers to the version hash) and describe it.

    Raises SourceRefused (final), EncodeFailed (worth another attempt), Cancelled, a plain PackagerError if `prefix` holds another plan's package,
    or storage's errors. Blocking; one child process at a time works on the picture and one on the sound. `published` is told, from the thread that
    made it so, of each stage that can be watched; `watched` answers whether anybody does: another child then runs ahead with what they need.
    Renditions that come out the same as in one of the `packages` (prefixes of older ones of this film) are copied from there. With a `crew`
    the steps of the encode are shared with other processes; all else stays with this one.
    """
    report(Progress("probing", 0.0))
    orders = Orders(report, published, cancelled, watched, limits, packages, crew)
    with sandbox.spares(1 + FIRST_CHILDREN):
        facts = probe(source, cancelled=cancelled)
        digest = source_sha256 or _sha256(source, cancelled)
        plan = planning.make(facts, digest, options)
        try:
            return _carried_out(source, store, prefix, plan, facts, orders)
        except EncodeFailed as error:
            place = prefix(plan.version) if callable(prefix) else prefix
            if error.code != NOT_PASSABLE or _is_published(store, place):  # what plays is never taken away
                raise
    # A packet deep in the source broke what its index and key frames promised: the picture is encoded after all.
    _discard(store, place)
    plan = planning.make(facts, digest, replace(options, passthrough=False))
    return _carried_out(source, store, prefix, plan, facts, orders)


def _carried_out(
    source: Path, store: ObjectStore, prefix: str | Callable[[str], str], plan: Plan, facts: SourceFacts, orders: Orders
) -> Package:
    place = prefix(plan.version) if callable(prefix) else prefix
    with tonemap.table(plan) as cube:
        run = _Run(source, store, place, plan, cube, orders)
        run.remember_plan()
        damaged = run.encode()
    if orders.cancelled():  # after this nothing stops what is already made
        raise Cancelled
    orders.report(Progress("packaging", 99.0))
    package = publish(store, place, plan, facts, damaged, poster=run.poster)
    sweep(store, place)
    seconds, size = package.duration_s, (package.width, package.height)
    orders.published(Published("final", plan.version, place, seconds, seconds, *size, run.poster))
    orders.report(Progress("packaging", 100.0, 0.0, playable=True))
    return package


def _is_published(store: ObjectStore, place: str) -> bool:
    try:
        store.head(f"{place}/master.m3u8")
    except ObjectMissing:
        return False
    return True


def _discard(store: ObjectStore, place: str) -> None:
    for info in list(store.list(f"{place}/")):
        store.delete(info.key)


def _sha256(source: Path, cancelled: Callable[[], bool]) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            if cancelled():
                raise Cancelled
            digest.update(block)
    return digest.hexdigest()


class _Run:
    """One encode: what is finished, what is under way here or elsewhere, who is told."""

    def __init__(
        self, source: Path, store: ObjectStore, prefix: str, plan: Plan, cube: str | None, orders: Orders
    ) -> None:
        self._store, self._prefix, self._plan, self._orders = store, prefix, plan, orders
        self._stopped = False
        self._begun, self._pictured = threading.Event(), threading.Event()
        self._maker = Maker(source, store, prefix, plan, cube, orders.limits, self._halt)
        self._done: set[Place] = set()
        self._meter = Meter(*workload.total(plan), orders.report)
        self._stages = Stages(store, prefix, plan, self._tell, self._meter.speed)
        self.poster = False

    def remember_plan(self) -> None:
        """Claim the prefix for this plan. What an earlier attempt at the same plan left is taken over; another film's is not."""
        key, text = f"{self._prefix}/plan.json", self._plan.to_json()
        try:
            self._store.put(key, text, type="application/json", if_absent=True)
        except ObjectExists:
            if self._store.read(key) != text:
                detail = f"{self._prefix} holds a package of another film, or of this one with other settings. Choose another place."
                raise PackagerError("destination_taken", "The destination is taken", detail) from None
        reuse.bring(self._store, self._prefix, self._plan, self._orders.packages, self._halt)
        self._take_over()

    def _take_over(self) -> None:
        found = finished_chunks(self._store, self._prefix)
        self._finished(*found.values())
        self._meter.found(steps.cost(self._plan, set(found)))

    def _finished(self, *indexes: ChunkIndex) -> None:
        self._done |= {(index.rendition, index.chunk) for index in indexes}
        self._stages.add(*indexes)

    def _tell(self, news: Published) -> None:
        self._begun.set()
        self._meter.playable = True
        self._orders.published(news)

    def _halt(self) -> bool:
        return self._stopped or self._orders.cancelled()

    def encode(self) -> int:
        """Everything that is not finished yet; the count of damaged packets."""
        with ThreadPoolExecutor(6, thread_name_prefix="beside") as side:
            works = [
                side.submit(self._carry_out, steps.sound(self._plan)),
                side.submit(self._carry_out, steps.remux(self._plan)),
            ]
            try:
                damaged = self._started()
                self._let_begin(works)
                self._poster()  # before the rest, not beside it: memory is counted at its highest
                lead = [side.submit(self._lead)]
                if self._orders.crew:
                    lead.append(side.submit(self._look))
                works.append(side.submit(self._picture))
                _settle(works)
                self._pictured.set()
                return damaged + sum(work.result() for work in (*works, *lead))
            finally:
                self._stopped = True  # an error on one side ends the other's child at once
                self._pictured.set()

    def _started(self) -> int:
        """The first segment of the start rung: what the first viewer waits for."""
        if not self._plan.video:
            return 0
        start = renditions.start(self._plan.video)
        return 0 if start.passthrough else self._make(Step("chunk", 0, 0, (start.name,)))

    def _let_begin(self, works: Sequence[Future[int]]) -> None:
        """Wait until a viewer has something: what is done before would only delay it."""
        until = time.monotonic() + BEGINNING_S
        while not self._begun.wait(0.05) and time.monotonic() < until and not all(work.done() for work in works):
            if self._halt():
                raise Cancelled

    def _picture(self) -> int:
        """All rungs, one run of chunks after the other, or several at once where there are cores for it. An error ends all of them."""
        runs = steps.picture(self._plan, shared=self._orders.crew is not None)
        if self._orders.crew:
            return self._carry_out(runs)
        with ThreadPoolExecutor(max(1, CORES // workload.CORES_PER_CHILD), thread_name_prefix="chunk") as pool:
            works = [pool.submit(self._make, run) for run in runs]
            try:
                return sum(work.result() for work in works)
            except BaseException:
                self._stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _lead(self) -> int:
        """The whole film in the start rung, for a viewer whom all rungs together would keep waiting. What is damaged is counted with the rest."""
        video = self._plan.video
        if video and not (start := renditions.start(video)).passthrough:
            while self._meter.speed() >= UNCAUGHT or not self._orders.watched():
                if self._pictured.wait(WATCHED_S):
                    return 0
            for run in steps.picture(self._plan, shared=False):
                self._make(replace(run, renditions=(start.name,)))
        return 0

    def _look(self) -> int:
        """Let the stages grow by what others finish, until all is finished."""
        while not self._pictured.wait(LOOK_S):
            self._adopt()
        self._adopt()
        return 0

    def _adopt(self) -> None:
        while new := list(steps.found(self._store, self._prefix, self._stages.awaited())):
            self._finished(*new)

    def _carry_out(self, wanted: Sequence[Step]) -> int:
        """These steps, by the crew if there is one."""
        if not self._orders.crew:
            return sum(self._make(step) for step in wanted)
        missing = [step for step in wanted if not step.places <= self._done]
        costs = {step.name: steps.cost(self._plan, step.places - self._done) for step in missing}

        def progressed(step: Step, share: float) -> None:
            self._meter.at(step.name, costs[step.name] * share)

        return self._orders.crew(self._plan, self._prefix, missing, progressed, self._halt) if missing else 0

    def _make(self, step: Step) -> int:
        """A step, here. Each has a piece of the meter to itself, since a leading rung runs through the same chunks as all of them."""
        cost, piece = steps.cost(self._plan, step.places - self._done), (step.name, step.renditions)
        damaged = self._maker.make(
            step, self._done, finished=self._finished, progressed=lambda share: self._meter.at(piece, cost * share)
        )
        self._meter.done(piece, cost)
        return damaged

    def _poster(self) -> None:
        """A film without a poster is better than none: what goes wrong here is left to the report and damages nothing."""
        if not self._plan.video and self._plan.cover is None:
            return
        with contextlib.suppress(EncodeFailed, SourceRefused):
            request = self._maker.request
            for message in sandbox.run("stills", request, limits=self._orders.limits, cancelled=self._halt):
                if message.kind == "poster":
                    self._store.put(f"{self._prefix}/poster.jpg", message.payload, type="image/jpeg", cache=IMMUTABLE)
                    self.poster = self._stages.poster = True


def _settle(works: Sequence[Future[int]]) -> None:
    """Wait for all; a failed one shows now, not after hours of encoding. What one failed of counts before what others stopped for."""
    done, _ = wait(works, return_when=FIRST_EXCEPTION)
    errors = [error for work in done if (error := work.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, Cancelled)):
        raise error


__all__ = ["Options", "Package", "Progress", "Published", "encode", "probe"]
