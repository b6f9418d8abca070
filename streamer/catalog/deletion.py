"""The `delete` and `delete_version` jobs: remove every object of an asset or a version whose row is a tombstone. Running one twice does no harm."""

from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from streamer import db
from streamer.catalog import assets, history, versions
from streamer.catalog.tables import Asset, Version
from streamer.jobs import queues
from streamer.jobs.errors import TaskFailed, TaskPostponed, TaskStopped
from streamer.jobs.runner import Outcome, Task
from streamer.jobs.tables import Job, State
from streamer.services import Services

Deletable = TypeVar("Deletable", Asset, Version)

_WAIT_S = 2.0
_RESUMED = 100
_LEFT = TaskFailed(
    "objects_left",
    "Some files are still there",
    "The storage kept files that were deleted. It is tried again.",
    retryable=True,
)


def run(task: Task) -> Outcome:
    """Remove the media and the sources. An encode that is still stopping goes first: it might write once more."""
    with db.reading(task.services) as s:
        asset = s.get_one(Asset, task.subject_id)
        if asset.deleted_at is None:
            raise TaskFailed("not_deleted", "The film is not deleted", "Its files were left alone.", retryable=False)
        if versions.encodes_of(s, versions.ids_of(s, asset.id)):
            raise TaskPostponed(_WAIT_S)
    _remove(task, f"{asset.id}/")
    _remove(task, f"sources/{asset.id}/")
    return lambda s: _purged(s, asset.id)


def run_version(task: Task) -> Outcome:
    """Remove its package, and its source unless a version that stays was made from it too: nothing new is made from a deleted one."""
    with db.reading(task.services) as s:
        version = s.get_one(Version, task.subject_id)
        if version.deleted_at is None:
            raise TaskFailed("not_deleted", "The version is not deleted", "Its files were left alone.", retryable=False)
        if versions.encodes_of(s, [version.id]):
            raise TaskPostponed(_WAIT_S)
        stays = Version.source_key == version.source_key, Version.deleted_at.is_(None)
        is_shared = s.scalar(select(Version.id).where(*stays).limit(1)) is not None
    if version.path is not None:
        _remove(task, f"{version.path}/")
    if not is_shared:
        task.services.store.delete(version.source_key)
    return lambda s: versions.purged(s, version.id)


def resume(services: Services) -> int:
    """A chore: what is deleted, whose objects are still there and which no job works on, gets a new one; how many there were."""
    with db.reading(services) as s:
        films = s.scalars(_left(Asset, "delete").limit(_RESUMED)).all()
        parts = s.scalars(_left(Version, "delete_version").limit(_RESUMED)).all()
    if films or parts:
        made = db.retrying(services, lambda s: [*(assets.enqueue_removal(s, one) for one in films),
                                                *(history.enqueue_removal(s, one) for one in parts)])  # fmt: skip
        queues.dispatch(services, made)
    return len(films) + len(parts)


def _left(table: type[Deletable], kind: str) -> Select[Deletable]:
    at_work = select(Job.subject_id).where(Job.kind == kind, Job.state.in_((State.QUEUED, State.RUNNING)))
    return select(table).where(table.deleted_at.is_not(None), table.purged_at.is_(None), table.id.not_in(at_work))


def _remove(task: Task, prefix: str) -> None:
    store = task.services.store
    keys = [info.key for info in store.list(prefix)]
    for number, key in enumerate(keys):
        if task.stopped():
            raise TaskStopped
        store.delete(key)
        task.report("deleting", 100 * number / len(keys))
    if next(iter(store.list(prefix)), None) is not None:
        raise _LEFT


def _purged(s: Session, asset_id: str) -> None:
    s.get_one(Asset, asset_id).purged_at = db.now()
