"""The `fetch` job: a film from a URL becomes an upload like any other.

Its bytes grow in the upload store of the worker's machine, durable as they come, so a worker that is killed, cancelled or cut off goes on
where it stopped; on another machine it begins again. As long as something new comes, a broken connection is just opened again; when
nothing does, the job waits and counts it as a failed attempt.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from storage import ObjectMissing
from streamer import db
from streamer.catalog import again, names
from streamer.catalog.again import FilmGone
from streamer.catalog.tables import Policy
from streamer.catalog.versions import Source
from streamer.errors import Problem, StorageExhausted
from streamer.ingest import faults, leftovers, remote, shares, uploads, wanted
from streamer.ingest.digests import of_object
from streamer.ingest.remote import Broken, Changed, Remote, Seen
from streamer.ingest.tables import Import, Upload, UploadState
from streamer.ingest.uploads import Received
from streamer.ingest.wanted import Wanted
from streamer.jobs import jobs, queues
from streamer.jobs.errors import TaskFailed, TaskStopped
from streamer.jobs.runner import Task

STAGES = ("fetching", "storing")
_NEWS = 1 << 20  # bytes that count as progress
_PAUSE_S, _TOLD_S, _LOOK_S = 1.0, 1.0, 0.2


def run(task: Task) -> None:
    """Fetch what is missing of the file and make a film of it. What is not a film any more, or never will be, leaves no bytes."""
    leftovers.tidy(task.services)
    with db.reading(task.services) as s:
        upload, source = s.get_one(Upload, task.subject_id), s.get_one(Import, task.subject_id)
    if upload.state != UploadState.RECEIVING:
        return  # a worker before us came that far
    try:
        _check_film(task, upload)
        _Transfer(task, upload, source).run()
        _enter(task, upload.id)
    except TaskStopped:
        if _is_cancelled(task):
            uploads.remove(task.services, upload)
        raise
    except FilmGone as gone:
        uploads.remove(task.services, upload)
        raise _of_problem(gone) from gone
    except Problem as error:
        raise _of_problem(error) from error
    except TaskFailed as error:
        if not error.retryable:
            uploads.remove(task.services, upload)
        raise


@dataclass
class _Transfer:
    """`size` bytes are here, under `source.validator`."""

    task: Task
    upload: Upload
    source: Import
    size: int = 0
    best: int = 0
    began: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Connection after connection, until the file is whole or nothing new comes."""
        self.size = self.best = self._here()
        if self.size and self.source.holder != self._holder():
            self._begin_again()  # what lies here is from before another machine had it
        began_again = 0
        while not self.size or self.size != self.upload.declared_size:
            try:
                return self._connection()
            except Changed:
                self._begin_again()
                began_again += 1
                if began_again > 2:
                    raise faults.changing() from None
            except Broken as broken:
                self._judge(broken)

    def _connection(self) -> None:
        config, seen = self.task.services.config, Seen(self.size, self.source.validator)
        with remote.opened(self.source.url, config.outbound, config.fetch, seen) as found:
            if found.offset < self.size:
                self._begin_again()
            self._meet(found)
            if self.size != found.size:
                with _Guard(self, found.cut):
                    self._receive(found)
        if self.size == 0:
            raise TaskFailed("empty_file", "The file is empty", "The other server sends no bytes.", retryable=False)

    def _receive(self, found: Remote) -> None:
        uploads_ = self.task.services.uploads
        try:
            uploads_.append(self.upload.id, self.size, self._passing(found))
        except Broken:
            self.size = uploads_.size(self.upload.id)  # what came is durable
            raise

    def _passing(self, found: Remote) -> Iterator[bytes]:
        told, limit = time.monotonic(), self.task.services.config.ingest.max_upload_bytes
        for piece in found.pieces():
            if self.size + len(piece) > limit:
                raise _too_large(limit)
            self.size += len(piece)
            yield piece
            if time.monotonic() - told > _TOLD_S:
                told = time.monotonic()
                self._tell(found.size)

    def _meet(self, found: Remote) -> None:
        """What the head of the answer tells: refuse what is too much, remember the rest."""
        services, settings = self.task.services, self.task.services.config.ingest
        if found.size is not None:
            if found.size > settings.max_upload_bytes:
                raise _too_large(settings.max_upload_bytes)
            wanted.check_room(services, found.size)
        self.source.validator, self.upload.declared_size = found.validator, found.size

        def noted(s: Session) -> None:
            name = found.name or self.upload.filename
            if not uploads.note(s, self.upload.id, declared_size=found.size, filename=name, received=self.size):
                raise _gone()
            row = s.get_one(Import, self.upload.id)
            row.validator, row.holder = found.validator, self._holder()
            shares.check_bytes(s, settings, self.upload.user_id)

        self.task.write(noted)

    def _tell(self, size: int | None) -> None:
        rate = (self.size - self.best) / max(time.monotonic() - self.began, 0.001)
        eta_s = (size - self.size) / rate if size and rate > 0 else None
        self.task.report(STAGES[0], 100 * self.size / size if size else 0.0, eta_s)
        wanted.check_room(self.task.services, 0)
        if not db.retrying(self.task.services, lambda s: uploads.note(s, self.upload.id, received=self.size)):
            raise _gone()

    def _judge(self, broken: Broken) -> None:
        """Whether to open another connection at once."""
        if self.task.stopped():
            raise TaskStopped
        if self.size < self.best + _NEWS:
            raise faults.broken(str(broken))
        self.best, self.began = self.size, time.monotonic()
        time.sleep(_PAUSE_S)

    def _here(self) -> int:
        try:
            return self.task.services.uploads.size(self.upload.id)
        except ObjectMissing:
            self.task.services.uploads.create(self.upload.id)
            return 0

    def _holder(self) -> str:
        return f"{socket.gethostname()}:{self.task.services.config.uploads_dir}"[-255:]

    def _begin_again(self) -> None:
        self.task.services.uploads.abort(self.upload.id)
        self.source.validator, self.size = None, self._here()


class _Guard:
    """Beside a download: ends it when the job has to stop or too little comes. A read that waits can't look by itself."""

    def __init__(self, transfer: _Transfer, cut: Callable[[], None]) -> None:
        self._transfer, self._cut = transfer, cut
        self._over, self._slow = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="fetch-guard", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._over.set()
        self._thread.join()
        if self._transfer.task.stopped():
            raise TaskStopped
        if self._slow:
            raise faults.too_slow(self._transfer.task.services.config.fetch.slowest_bytes_s)

    def _run(self) -> None:
        limits = self._transfer.task.services.config.fetch
        window_s = 2 * limits.silence_s
        since, size = time.monotonic(), self._transfer.size
        while not self._over.wait(_LOOK_S):
            if time.monotonic() - since > window_s:
                self._slow = self._transfer.size - size < limits.slowest_bytes_s * window_s
                since, size = time.monotonic(), self._transfer.size
            if self._slow or self._transfer.task.stopped():
                return self._cut()


def _enter(task: Task, upload_id: str) -> Received:
    """The whole file into storage, the film into the queue."""
    services = task.services
    with db.reading(services) as s:
        upload = s.get_one(Upload, upload_id)
    source = _source(task, upload)
    title = upload.title or names.title_of(upload.filename)
    what = Wanted(upload.filename, title, Policy(upload.policy or Policy.PRIVATE), source.size)
    made: list[Received] = []
    task.write(lambda s: made.append(uploads.enter(s, services, upload, what, source)))
    queues.dispatch(services, made[-1].jobs)
    uploads.drop(services, upload_id)
    return made[-1]


def _check_film(task: Task, upload: Upload) -> None:
    """Nobody waits for gigabytes whose film has been deleted since."""
    if upload.replaces is not None:
        with db.reading(task.services) as s:
            again.check_film(s, upload.replaces, upload.user_id)


def _source(task: Task, upload: Upload) -> Source:
    """Have the object made; its hash from that, unless the bytes passed by here."""
    services, key, look = task.services, upload.source_key, _looking(task)
    with services.uploads.hold(upload.id) as size:
        look(0)
        passed = services.uploads.finish([upload.id], key)
    return Source(key, upload.filename, size, passed or of_object(services.store, key, look))


def _looking(task: Task) -> Callable[[int], None]:
    def look(size: int) -> None:
        if task.stopped():
            raise TaskStopped
        task.report(STAGES[1], 99.0)

    return look


def _is_cancelled(task: Task) -> bool:
    with db.reading(task.services) as s:
        return jobs.look(s, task.claim)[1]


def _of_problem(error: Problem) -> TaskFailed:
    """Refusals that uploads share with other doors. Room can be made, and shares become free."""
    passing = isinstance(error, (StorageExhausted, shares.TooMany))
    return TaskFailed(error.code, error.title, error.detail, retryable=passing)


def _too_large(limit: int) -> TaskFailed:
    detail = f"The file is larger than the {limit:,} bytes this server takes."
    return TaskFailed("file_too_large", "The file is too large", detail, retryable=False)


def _gone() -> TaskFailed:
    detail = "It was ended in the meantime; import the film again."
    return TaskFailed("upload_gone", "The import is gone", detail, retryable=False)
