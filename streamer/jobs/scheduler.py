"""`streamer scheduler`: finds lost jobs, hands out what no queue holds, and does all periodic work.

Any number may run; a lease in SQL makes one of them the leader, and another takes over a few sweeps after it fell silent. A sweep only moves rows
under their own conditions, so even two leaders at once would do no harm.
"""

import importlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

from storage import StorageError
from streamer import db, ids
from streamer.config import Config
from streamer.jobs import jobs, leases, queues, waiting
from streamer.jobs.tables import Job
from streamer.services import Services, close_services, open_services

ROLE = "scheduler"
CHORES = (
    "streamer.ingest.leftovers:sweep",
    "streamer.ingest.held:sweep",
    "streamer.ingest.litter:sweep",
    "streamer.catalog.deletion:resume",
    "streamer.events.outbox:purge",
    "streamer.membership.tickets:purge",
    "streamer.accounts.idempotency:purge",
    "streamer.accounts.login_sessions:purge",
    "streamer.accounts.audit_age:sweep",
    "streamer.membership.invitations:purge",
    "streamer.jobs.tidying:purge",
    "streamer.ingest.leftovers:purge",
    "streamer.delivery.sessions:purge",
)
"""Periodic work of later rooms, by dotted path: `chore(services)`, called at each sweep, cheap when there is nothing to do."""

BESIDE = ("streamer.events.relay:run", "streamer.webhooks.courier:run")
"""Work that can't wait for a sweep, nor a sweep for it, by dotted path: `run(services, stop)` until the flag is set, in a thread of its own,
in every scheduler whether it leads or not."""

_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_LEASE_SWEEPS = 3

log = structlog.get_logger(__name__)


def run(config: Config) -> None:
    """Sweep until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    services = open_services(config)
    owner = f"{socket.gethostname()}-{os.getpid()}-{ids.new('sch')}"
    stop = threading.Event()
    beside = [threading.Thread(target=_load(path), args=(services, stop), name=path) for path in BESIDE]
    for thread in beside:
        thread.start()
    try:
        while signal.sigtimedwait(_SIGNALS, config.jobs.sweep_s) is None:
            _guarded(lambda: sweep(services, owner))
        _guarded(lambda: db.retrying(services, lambda s: leases.give_back(s, ROLE, owner)))
    finally:
        stop.set()
        for thread in beside:
            thread.join()
        close_services(services)


def sweep(services: Services, owner: str) -> bool:
    """One round, if we lead; whether we do."""
    lease_s = services.config.jobs.sweep_s * _LEASE_SWEEPS
    if not db.retrying(services, lambda s: leases.take(s, ROLE, owner, lease_s)):
        return False
    recover(services)
    advance(services)
    hand_out(services)
    for chore in CHORES:
        _guarded(lambda chore=chore: _load(chore)(services))  # type: ignore[misc]
    return True


def recover(services: Services) -> Sequence[Job]:
    """Take jobs back from workers that fell silent."""
    with db.reading(services) as s:
        silent = [(job.id, job.fence, job.lease_owner) for job in jobs.expired(s)]
    taken = []
    for job_id, fence, worker in silent:
        job = db.retrying(services, lambda s, i=job_id, f=fence: jobs.lost(s, i, f))  # type: ignore[misc]
        if job is not None:
            log.warning("job lost", job=job_id, worker=worker, state=job.state, lost=job.lost)
            taken.append(job)
    return taken


def advance(services: Services) -> None:
    """Have those that waited too long behind better plans and shorter films go first."""
    with db.reading(services) as s:
        late = waiting.overdue(s, services.config.jobs.patience_s)
    if late:
        after = db.retrying(services, lambda s: waiting.advance(s, [job.id for job in late]))
        queues.move(services, late, after)
        log.info("late jobs advanced", count=len(after))


def hand_out(services: Services) -> int:
    """Push due jobs that are in no queue: retries whose pause is over, and all of them after Redis lost its memory."""
    with db.reading(services) as s:
        due = waiting.due(s)
    pushed = queues.push_missing(services, due) if due else 0
    if pushed:
        log.info("jobs handed out", count=pushed)
    return pushed


def _guarded(work: Callable[[], object]) -> None:
    """A server that is away costs this round only."""
    try:
        work()
    except (SQLAlchemyError, redis.RedisError, StorageError) as error:
        log.warning("sweep failed", error=str(error))
    except Exception:
        log.exception("sweep failed")


def _load(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
