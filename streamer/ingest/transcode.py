"""The `transcode` job: a source becomes a version that plays. The only module of the server that loads the encoder.

The packager keeps finished chunks in storage, so a job that is retried, taken over or started again encodes only the rest. What is finished is
watched before the end (`versions.grow`); the whole is live with the transaction that also finishes the job (`versions.publish`).
"""

import time
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy.exc import DBAPIError

from packager.errors import Cancelled, PackagerError
from packager.pipeline import Options, Package, Progress, encode
from packager.sandbox import Limits
from packager.stages import Published
from streamer import config, db
from streamer.catalog import versions, viewers
from streamer.catalog.tables import Asset, Processing, Stage, Version
from streamer.catalog.versions import Facts, Growth, RenditionFacts
from streamer.ingest import scratch
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
                lambda name: f"{version.asset_id}/{name}",
                report=news.report,
                published=news.published,
                cancelled=task.stopped,
                watched=lambda: viewers.any_of(task.services.kv_sync, version.asset_id),
                options=_options(task.services.config.packager),
                limits=_limits(task.services.config.packager),
                source_sha256=version.source_sha256,
            )
    except Cancelled:
        raise TaskStopped from None
    except PackagerError as error:
        raise TaskFailed(error.code, error.title, error.detail, retryable=error.retryable) from error
    return lambda s: versions.publish(s, version.id, facts(package))


def _options(settings: config.Packager) -> Options:
    return Options(
        max_short_side=settings.max_short_side,
        segments_per_chunk=settings.segments_per_chunk,
        loudness=settings.loudness_lufs or None,
    )


def _limits(settings: config.Packager) -> Limits:
    return Limits(memory_bytes=settings.memory_bytes, stall_s=settings.stall_s)


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
        if s.get_one(Asset, version.asset_id).deleted_at is not None:
            raise versions.deleted()
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
