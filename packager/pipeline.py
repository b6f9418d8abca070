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
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from packager import plan as planning
from packager import renditions, reuse, sandbox, tonemap, workload
from packager.attempt import IMMUTABLE, Attempt, Place, finished_chunks, sweep
from packager.errors import Cancelled, EncodeFailed, PackagerError, SourceRefused
from packager.facts import SourceFacts
from packager.index import ChunkIndex
from packager.meter import Meter, Progress
from packager.passthrough import NOT_PASSABLE
from packager.plan import Options, Plan
from packager.publish import Package, publish
from packager.sandbox import LIMITS, Limits
from packager.stages import Published, Stages
from packager.timeline import Chunk
from storage.base import ObjectExists, ObjectStore

PROBE_LIMITS = sandbox.Limits(memory_bytes=2 << 30, cpu_s=1800)
DEFAULTS = Options()
HASH_BLOCK = 4 << 20
UNCAUGHT = 2.0  # seconds of film per second: slower than this, all rungs together are caught up by a viewer (see timeline.chunks)
WATCHED_S = 0.5  # between two looks at whether anybody watches
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
) -> Package:
    """Make a film's HLS package under `prefix` (or under what `prefix` answers to the version hash) and describe it.

    Raises SourceRefused (final), EncodeFailed (worth another attempt), Cancelled, a plain PackagerError if `prefix` holds another plan's package,
    or storage's errors. Blocking; one child process at a time works on the picture and one on the sound. `published` is told, from the thread that
    made it so, of each stage that can be watched; `watched` answers whether anybody does: another child then runs ahead with what they need.
    Renditions that come out the same as in one of the `packages` (prefixes of older ones of this film) are copied from there.
    """
    report(Progress("probing", 0.0))
    facts = probe(source, cancelled=cancelled)
    digest = source_sha256 or _sha256(source, cancelled)
    orders = Orders(report, published, cancelled, watched, limits, packages)
    plan = planning.make(facts, digest, options)
    try:
        return _carried_out(source, store, prefix, plan, facts, orders)
    except EncodeFailed as error:
        if error.code != NOT_PASSABLE:
            raise
    # A packet deep in the source broke what its index and key frames promised: the picture is encoded after all.
    _discard(store, prefix(plan.version) if callable(prefix) else prefix)
    plan = planning.make(facts, digest, replace(options, passthrough=False))
    return _carried_out(source, store, prefix, plan, facts, orders)


def _carried_out(
    source: Path, store: ObjectStore, prefix: str | Callable[[str], str], plan: Plan, facts: SourceFacts, orders: Orders
) -> Package:
    place = prefix(plan.version) if callable(prefix) else prefix
    with tonemap.table(plan) as cube:
        run = _Run(source.resolve(), store, place, plan, cube, orders)
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
    """One encode in one process: what is finished, what is under way, who is told."""

    def __init__(
        self, source: Path, store: ObjectStore, prefix: str, plan: Plan, cube: str | None, orders: Orders
    ) -> None:
        self._store, self._prefix, self._plan, self._orders = store, prefix, plan, orders
        self._stopped = False
        self._pictured = threading.Event()
        self._request = {"path": str(source), "plan": plan.to_json().decode(), "cube": cube}
        self._spans = renditions.spans(plan)
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
        self._done |= set(found)
        self._stages.add(*found.values())
        for place in found:
            if self._plan.video and place[0].startswith("v"):
                self._meter.found(workload.cost(self._plan.video, {place}))

    def _finished(self, index: ChunkIndex) -> None:
        self._done.add((index.rendition, index.chunk))
        self._stages.add(index)

    def _tell(self, news: Published) -> None:
        self._meter.playable = True
        self._orders.published(news)

    def encode(self) -> int:
        """Everything that is not finished yet; the count of damaged packets."""
        with ThreadPoolExecutor(3, thread_name_prefix="beside") as side:
            beside = [side.submit(self._sound), side.submit(self._passed_through)]
            try:
                damaged = self._started()
                self._poster()  # before the rest, not beside it: memory is counted at its highest
                beside.append(side.submit(self._lead))
                damaged += self._picture(beside)
                self._pictured.set()
                return damaged + sum(work.result() for work in beside)
            finally:
                self._stopped = True  # an error on one side ends the other's child at once
                self._pictured.set()

    def _halt(self) -> bool:
        return self._stopped or self._orders.cancelled()

    def _started(self) -> int:
        """The first segment of the start rung: what the first viewer waits for."""
        if not self._plan.video:
            return 0
        start = renditions.start(self._plan.video)
        return 0 if start.passthrough else self._chunks(self._plan.video.chunks[:1], [start.name])

    def _picture(self, beside: list[Future[int]]) -> int:
        """All rungs, one run of chunks after the other, or several at once where there are cores for it. An error ends all of them."""
        if not self._plan.video:
            return 0
        names = [rung.name for rung in self._plan.video.rungs if not rung.passthrough]
        with ThreadPoolExecutor(max(1, CORES // workload.CORES_PER_CHILD), thread_name_prefix="chunk") as pool:
            works = [pool.submit(self._chunks, run, names) for run in workload.runs(self._plan.video)]
            try:
                return sum(self._settled(work, beside) for work in works)
            except BaseException:
                self._stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _settled(self, work: Future[int], beside: list[Future[int]]) -> int:
        """Its damaged packets; a failed side shows now, not after hours of encoding."""
        damaged = work.result()
        for other in beside:
            if other.done():
                other.result()
        return damaged

    def _lead(self) -> int:
        """The whole film in the start rung, for a viewer whom all rungs together would keep waiting. What is damaged is counted with the rest."""
        video = self._plan.video
        if video and not (start := renditions.start(video)).passthrough:
            while self._meter.speed() >= UNCAUGHT or not self._orders.watched():
                if self._pictured.wait(WATCHED_S):
                    return 0
            for run in workload.runs(video):
                self._chunks(run, [start.name])
        return 0

    def _passed_through(self) -> int:
        """The source's own pictures, repackaged by one child in one go: far faster than anybody watches."""
        plan = self._plan.video
        rung = next((rung.name for rung in plan.rungs if rung.passthrough), None) if plan else None
        missing = [c.number for c in plan.chunks if (rung, c.number) not in self._done] if plan and rung else []
        if not plan or not rung or not missing:
            return 0
        what = {"chunk": missing[0], "through": missing[-1]}
        wanted = {(rung, number) for number in missing}
        damaged = self._attempt("remux", what, wanted, lambda frames: None)
        self._meter.done(rung, workload.cost(plan, wanted))
        return damaged

    def _chunks(self, chunks: Sequence[Chunk], names: list[str]) -> int:
        """What is missing of chunks that follow each other, by one child."""
        missing = {(name, chunk.number) for chunk in chunks for name in names} - self._done
        if not missing or not self._plan.video:
            return 0
        rungs = [name for name in names if any(name == wanted for wanted, _ in missing)]
        first, last = min(number for _, number in missing), max(number for _, number in missing)
        spanned = self._plan.video.chunks[first : last + 1]
        cost = workload.cost(self._plan.video, missing)
        piece = (first, *rungs)

        def progressed(frames: int) -> None:
            self._meter.at(piece, cost * frames / (spanned[-1].last - spanned[0].first))

        damaged = self._attempt("chunk", {"chunk": first, "through": last, "rungs": rungs}, missing, progressed)
        self._meter.done(piece, cost)
        return damaged

    def _sound(self) -> int:
        damaged = 0
        for track in sorted(self._plan.audio, key=lambda track: not track.default):  # what is heard first is made first
            names = [track.rendition(kbps) for kbps in track.kbps]
            wanted = {(name, chunk) for name in names for chunk in range(len(self._spans[name]))} - self._done
            what = {"track": track.name, "rates": sorted({name for name, _ in wanted})}
            damaged += self._attempt("audio", what, wanted, self._heard) if wanted else 0
        return damaged

    def _heard(self, frames: int) -> None:
        if not self._plan.video:
            self._meter.at("sound", frames * planning.AAC_FRAME / planning.AUDIO_RATE)

    def _poster(self) -> None:
        """A film without a poster is better than none: what goes wrong here is left to the report and damages nothing."""
        if not self._plan.video and self._plan.cover is None:
            return
        with contextlib.suppress(EncodeFailed, SourceRefused):
            for message in sandbox.run("stills", self._request, limits=self._orders.limits, cancelled=self._halt):
                if message.kind == "poster":
                    self._store.put(f"{self._prefix}/poster.jpg", message.payload, type="image/jpeg", cache=IMMUTABLE)
                    self.poster = self._stages.poster = True

    def _attempt(self, task: str, what: dict[str, Any], wanted: set[Place], progressed: Callable[[int], None]) -> int:
        """Run one child and store what it makes; the indexes of its chunks name it the winner, or somebody else was faster."""
        with Attempt(self._store, self._prefix, wanted, self._spans, self._finished) as attempt:
            damaged: int | None = None
            request = {**self._request, **what}
            for message in sandbox.run(task, request, limits=self._orders.limits, cancelled=self._halt):
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


__all__ = ["Options", "Package", "Progress", "Published", "encode", "probe"]
