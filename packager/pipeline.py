"""The steps of an encode in order, resumable: probe, plan, chunks beside audio and poster, playlists, report.

Nothing is visible before it is whole: segments come first, then the chunk's index, then media playlists, and `master.m3u8` last. Killed at
any point and started again with the same source and options, it finds the finished chunks by their indexes and encodes only the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import stat
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from packager import plan as planning
from packager import sandbox, tonemap
from packager.attempt import IMMUTABLE, Attempt, finished_chunks, sweep
from packager.errors import Cancelled, EncodeFailed, PackagerError, SourceRefused
from packager.facts import SourceFacts
from packager.plan import Options, Plan
from packager.publish import Package, publish
from packager.sandbox import LIMITS, Limits
from packager.timeline import Chunk
from storage.base import ObjectExists, ObjectStore

PROBE_LIMITS = sandbox.Limits(memory_bytes=2 << 30, cpu_s=1800)
DEFAULTS = Options()
HASH_BLOCK = 4 << 20
FACTS: TypeAdapter[SourceFacts] = TypeAdapter(SourceFacts)


@dataclass(frozen=True, slots=True)
class Progress:
    """`stage` is probing, encoding or packaging; `percent` 0 to 100 of the whole; `speed` in seconds of film per second."""

    stage: str
    percent: float
    eta_s: float | None = None
    speed: float | None = None
    playable: bool = False


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
    cancelled: Callable[[], bool] = lambda: False,
    options: Options = DEFAULTS,
    limits: Limits = LIMITS,
    source_sha256: str | None = None,
) -> Package:
    """Make a film's HLS package under `prefix` (or under what `prefix` answers to the version hash) and describe it.

    Raises SourceRefused (final), EncodeFailed (worth another attempt), Cancelled, a plain PackagerError if `prefix` holds another plan's package,
    or storage's errors. Blocking; one child process at a time
    works on the picture and one on the sound.
    """
    report(Progress("probing", 0.0))
    facts = probe(source, cancelled=cancelled)
    plan = planning.make(facts, source_sha256 or _sha256(source, cancelled), options)
    place = prefix(plan.version) if callable(prefix) else prefix
    with tonemap.table(plan) as cube:
        run = _Run(source.resolve(), store, place, plan, cube, limits, report, cancelled)
        run.remember_plan()
        damaged = run.encode()
    report(Progress("packaging", 99.0))
    package = publish(store, place, plan, facts, damaged, poster=run.poster)
    sweep(store, place)
    report(Progress("packaging", 100.0, 0.0, playable=True))
    return package


def _sha256(source: Path, cancelled: Callable[[], bool]) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            if cancelled():
                raise Cancelled
            digest.update(block)
    return digest.hexdigest()


class _Run:
    """One encode in one process: what is finished, what is under way, how far it is."""

    def __init__(
        self,
        source: Path,
        store: ObjectStore,
        prefix: str,
        plan: Plan,
        cube: str | None,
        limits: Limits,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._source, self._store, self._prefix, self._plan = source, store, prefix, plan
        self._limits, self._report, self._cancelled = limits, report, cancelled
        self._stopped = False
        self._request = {"path": str(source), "plan": plan.to_json().decode(), "cube": cube}
        self._finished = finished_chunks(store, prefix)
        self._meter = _Meter(float(plan.duration), report)
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

    def encode(self) -> int:
        """Everything that is not finished yet; the count of damaged packets."""
        with ThreadPoolExecutor(1, thread_name_prefix="sound") as side:
            sound = side.submit(self._sound_and_poster)
            try:
                damaged = self._picture(sound)
                return damaged + sound.result()
            finally:
                self._stopped = True  # an error on one side ends the other's child at once

    def _halt(self) -> bool:
        return self._stopped or self._cancelled()

    def _picture(self, sound: Future[int]) -> int:
        damaged = 0
        for chunk in self._plan.video.chunks if self._plan.video else ():
            if sound.done():
                sound.result()  # a failed side shows now, not after hours of encoding
            damaged += self._chunk(chunk)
        return damaged

    def _chunk(self, chunk: Chunk) -> int:
        assert self._plan.video
        grid = self._plan.video.grid
        start = grid.time(chunk.first) / grid.timescale
        missing = [rung.name for rung in self._plan.video.rungs if (rung.name, chunk.number) not in self._finished]
        if not missing:
            self._meter.skip(grid.time(chunk.last) / grid.timescale)
            return 0

        def progressed(frames: int) -> None:
            self._meter.at(grid.time(chunk.first + frames) / grid.timescale)

        self._meter.begin(start)
        damaged = self._attempt("chunk", {"chunk": chunk.number, "rungs": missing}, missing, chunk.number, progressed)
        self._meter.at(grid.time(chunk.last) / grid.timescale)
        return damaged

    def _sound_and_poster(self) -> int:
        damaged = 0
        if self._plan.video or self._plan.cover is not None:
            self._poster()
        for track in self._plan.audio:
            missing = [track.rendition(kbps) for kbps in track.kbps if (track.rendition(kbps), 0) not in self._finished]
            if missing:
                damaged += self._attempt("audio", {"track": track.name, "rates": missing}, missing, 0, self._heard)
        return damaged

    def _heard(self, frames: int) -> None:
        if not self._plan.video:
            self._meter.at(frames * planning.AAC_FRAME / planning.AUDIO_RATE)

    def _poster(self) -> None:
        """A film without a poster is better than none: what goes wrong here is left to the report."""
        with contextlib.suppress(EncodeFailed, SourceRefused):
            for message in sandbox.run("stills", self._request, limits=self._limits, cancelled=self._halt):
                if message.kind == "poster":
                    self._store.put(f"{self._prefix}/poster.jpg", message.payload, type="image/jpeg", cache=IMMUTABLE)
                    self.poster = True

    def _attempt(
        self, task: str, what: dict[str, Any], renditions: list[str], chunk: int, progressed: Callable[[int], None]
    ) -> int:
        """Run one child and store what it makes; its indexes name it the winner, or somebody else was faster."""
        with Attempt(self._store, self._prefix, chunk, renditions) as attempt:
            damaged: int | None = None
            for message in sandbox.run(task, {**self._request, **what}, limits=self._limits, cancelled=self._halt):
                if message.kind == "progress":
                    progressed(int(message.fields.get("frames") or 0))
                elif message.kind == "done":
                    damaged = int(message.fields.get("damaged") or 0)
                else:
                    attempt.take(message)
            if damaged is None:
                raise sandbox.nonsense("only a part")
            attempt.commit()
            return damaged


class _Meter:
    """Turns positions in the film into percent, speed and time left. Chunks found finished don't count as speed."""

    def __init__(self, duration_s: float, report: Callable[[Progress], None]) -> None:
        self._duration, self._report = duration_s, report
        self._worked = self._from = 0.0
        self._since = time.monotonic()
        report(Progress("encoding", 0.0))

    def skip(self, position: float) -> None:
        self._report(Progress("encoding", self._percent(position)))

    def begin(self, position: float) -> None:
        self._from = position

    def at(self, position: float) -> None:
        self._worked, self._from = self._worked + max(0.0, position - self._from), position
        speed = self._worked / max(0.001, time.monotonic() - self._since)
        left = max(0.0, self._duration - position)
        self._report(Progress("encoding", self._percent(position), left / speed if speed else None, speed or None))

    def _percent(self, position: float) -> float:
        return min(98.0, 98.0 * position / self._duration)


def facts_json(facts: SourceFacts) -> dict[str, Any]:
    """What `packager probe --json` prints: the facts without the packet index."""
    plain: dict[str, Any] = json.loads(FACTS.dump_json(facts))
    if plain["video"]:
        plain["video"]["frames"] = len(plain["video"].pop("pts"))
        plain["video"]["key_frames"] = len(plain["video"].pop("key_pts"))
    return plain


__all__ = ["Options", "Package", "Progress", "asdict", "encode", "facts_json", "probe"]
