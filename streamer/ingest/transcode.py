"""The `transcode` job: a source becomes a version that plays. The only module of the server that loads the encoder.

The steps of the encode are shared with all workers (see crew.py). The packager keeps finished chunks in storage, so a job that is retried, taken
over or started again encodes only the rest. What is finished is
watched before the end (`versions.grow`); the whole is live with the transaction that also finishes the job (`versions.publish`).
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from packager import ladder
from packager.errors import Cancelled, PackagerError
from packager.pipeline import Options, Package, Progress, encode
from packager.stages import Published
from streamer import config, db
from streamer.catalog import history, versions, viewers
from streamer.catalog.again import Options as Chosen
from streamer.catalog.tables import Asset, Processing, Stage, Version
from streamer.catalog.versions import Facts, Growth, RenditionFacts
from streamer.ingest import scratch
from streamer.ingest.crew import Crew
from streamer.ingest.encode import limits
from streamer.jobs.errors import TaskFailed, TaskStopped
from streamer.jobs.runner import Outcome, Task

STAGES = {
    "probing": Processing.PROBING,
    "encoding": Processing.ENCODING,
    "packaging": Processing.PACKAGING,
}

GROWTH_S = 1.0  # a passed-through film grows many times a second; nobody looks that often

log = structlog.get_logger(__name__)


def run(task: Task) -> Outcome:
    """Make the version's package; what it answers makes it live."""
    version = _version(task)
    news = _News(task, version.id)
    try:
        with scratch.source(task.services, version.source_key, version.source_size, task.stopped) as path:
            package = encode(
                path,
                task.services.store,
                lambda name: _place(task, version, name),
                report=news.report,
                published=news.published,
                cancelled=task.stopped,
                watched=lambda: viewers.any_of(task.services.kv_sync, version.asset_id),
                options=_options(task.services.config.packager, Chosen(**(version.options or {}))),
                limits=limits(task.services.config.packager),
                source_sha256=version.source_sha256,
                packages=_kin(task, version),
                crew=Crew(task),
            )
    except Cancelled:
        raise TaskStopped from None
    except PackagerError as error:
        if not error.retryable:
            scratch.forget(task.services, version.source_key)
        raise TaskFailed(error.code, error.title, error.detail, retryable=error.retryable) from error
    scratch.forget(task.services, version.source_key)
    return lambda s: _enter(s, task.services.config, version, package)


def _enter(s: Session, settings: config.Config, version: Version, package: Package) -> None:
    """The version is live, and what the film need not keep any more goes when nobody can be watching it."""
    versions.publish(s, version.id, facts(package))
    if settings.ingest.keep_versions:
        history.keep_newest(s, version.asset_id, settings.ingest.keep_versions, history.grace_s(settings.delivery))


def _options(settings: config.Packager, chosen: Chosen) -> Options:
    """The server's, but for what was chosen for this version. A ladder of its own also says how large the file's own picture may be."""
    steps = tuple(ladder.step(one.short_side, one.max_kbps) for one in chosen.ladder or ())
    largest = max((one.short for one in steps), default=settings.max_short_side)
    loudness = settings.loudness_lufs if chosen.loudness_lufs is None else chosen.loudness_lufs
    return Options(
        max_short_side=chosen.max_short_side or largest,
        segments_per_chunk=settings.segments_per_chunk,
        ladder=steps,
        passthrough=chosen.passthrough is not False,
        loudness=loudness or None,
    )


def _kin(task: Task, version: Version) -> Sequence[str]:
    with db.reading(task.services) as s:
        return versions.kin(s, version)


def _place(task: Task, version: Version, name: str) -> str:
    """The folder of its package; the row knows of it before there is anything in it."""
    with db.reading(task.services) as s:
        folder = versions.folder(s, version, name)
    if folder != version.path:
        task.write(lambda s: versions.place(s, version.id, folder))
    return folder


def facts(package: Package) -> Facts:
    """The packager's description in the catalog's words."""
    return Facts(
        path=package.prefix,
        duration_s=package.duration_s,
        width=package.width,
        height=package.height,
        poster=package.poster is not None,
        renditions=[RenditionFacts(**asdict(one)) for one in package.renditions],  # the same fields, by name
        report=package.report,
    )


def _version(task: Task) -> Version:
    with db.reading(task.services) as s:
        version = s.get_one(Version, task.subject_id)
        versions.check_wanted(s.get_one(Asset, version.asset_id), version)
        return version


@dataclass
class _News:
    """Progress goes to Redis each time, to SQL only a new step of the work and what more can be watched. Told from several threads."""

    task: Task
    version_id: str
    step: str = ""
    shown: Stage | None = None
    shown_at: float = 0.0

    def report(self, progress: Progress) -> None:
        self.task.report(progress.stage, progress.percent, progress.eta_s, progress.speed)
        if progress.stage != self.step and self._write(
            lambda s: versions.advance(s, self.version_id, STAGES[progress.stage])
        ):
            self.step = progress.stage

    def published(self, news: Published) -> None:
        """The final stage is not for here: it appears with the end of the job."""
        stage, recent = Stage(news.stage), time.monotonic() - self.shown_at < GROWTH_S
        if stage is Stage.FINAL or (stage is self.shown and recent and news.seconds < news.duration_s):
            return
        if self._write(lambda s: versions.grow(s, self.version_id, _growth(stage, news))):
            self.shown, self.shown_at = stage, time.monotonic()

    def _write(self, change: Outcome) -> bool:
        try:
            self.task.write(change)
        except DBAPIError as error:  # the encode goes on; the next news tries again
            log.warning("news of an encode not recorded", error=str(error))
            return False
        return True


def _growth(stage: Stage, news: Published) -> Growth:
    return Growth(
        stage=stage,
        path=news.prefix,
        available_s=news.seconds,
        duration_s=news.duration_s,
        width=news.width,
        height=news.height,
        poster=news.poster,
    )
