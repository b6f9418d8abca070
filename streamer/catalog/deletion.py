"""The `delete` job: removes every object of an asset whose row is a tombstone. Running it twice does no harm."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import db
from streamer.catalog import assets, versions
from streamer.catalog.tables import Asset
from streamer.jobs import jobs, queues
from streamer.jobs.errors import TaskFailed, TaskPostponed, TaskStopped
from streamer.jobs.runner import Outcome, Task
from streamer.jobs.tables import Job, State
from streamer.services import Services

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
        if jobs.unfinished_of(s, versions.ids_of(s, asset.id)):
            raise TaskPostponed(_WAIT_S)
    _remove(task, f"{asset.id}/")
    _remove(task, f"sources/{asset.id}/")
    return lambda s: _purged(s, asset.id)


def resume(services: Services) -> int:
    """A chore: deleted assets whose objects are still there and which no job works on get a new one; how many there were."""
    at_work = select(Job.subject_id).where(Job.kind == "delete", Job.state.in_((State.QUEUED, State.RUNNING)))
    left = Asset.deleted_at.is_not(None), Asset.purged_at.is_(None), Asset.id.not_in(at_work)
    with db.reading(services) as s:
        found = s.scalars(select(Asset).where(*left).limit(_RESUMED)).all()
    if found:
        made = db.retrying(services, lambda s: [assets.enqueue_removal(s, asset) for asset in found])
        queues.dispatch(services, made)
    return len(found)


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
