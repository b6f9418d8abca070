"""The `delete` job: removes every object of an asset whose row is a tombstone. Running it twice does no harm."""

from sqlalchemy.orm import Session

from streamer import db
from streamer.catalog import versions
from streamer.catalog.tables import Asset
from streamer.jobs import jobs
from streamer.jobs.errors import TaskFailed, TaskPostponed, TaskStopped
from streamer.jobs.runner import Outcome, Task

_WAIT_S = 2.0
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
