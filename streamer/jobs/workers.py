"""The worker processes there are, on every host, and those that people told to pause.

Who is there is known from RQ's registry in Redis and forgotten with it; a pause is a row in SQL and outlives both the worker and Redis. A worker is
named `<host>.<process>.<random>`, so the name of a host pauses all of its workers, those that start later too. A paused worker ends the step it
has in hand and takes nothing new: pause, wait until it is idle, and the machine can be switched off without any work being done twice.
"""

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime

import redis
from rq import Worker
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from streamer.accounts import audit
from streamer.db import now
from streamer.errors import Invalid, NotFound
from streamer.jobs.tables import Pause

NAME_MAX = 128

_SUBJECT = "worker"  # names are longer than ids, and stand among the facts


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker that was heard of in the last minutes. `job_id` is what it has in hand."""

    name: str
    host: str
    paused: bool
    job_id: str | None
    since: datetime


def new_name() -> str:
    """For a worker of this process."""
    return f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(3)}"[-NAME_MAX:]


def listed(s: Session, connection: redis.Redis) -> list[Seen]:
    """All workers, by name. Raises redis.RedisError."""
    paused = names(s)
    found = sorted(Worker.all(connection=connection, serializer=JSONSerializer), key=lambda worker: worker.name)
    return [_seen(worker, _is_among(worker.name, paused)) for worker in found]


def pause(s: Session, name: str) -> None:
    """Pause a worker or a host. Twice is fine."""
    if not name or len(name) > NAME_MAX or not name.isprintable():
        raise Invalid("Give the name of a worker or of its host, as `streamer workers list` shows them.")
    if s.get(Pause, name) is None:
        s.add(Pause(name=name, since=now()))
        audit.record(s, "worker.pause", _SUBJECT, after={"worker": name})


def resume(s: Session, name: str) -> None:
    """End a pause by the name it was made with."""
    if s.get(Pause, name) is None:
        raise NotFound(f"Nothing is paused by the name {name[:NAME_MAX]}.")
    s.execute(delete(Pause).where(Pause.name == name))
    audit.record(s, "worker.resume", _SUBJECT, before={"worker": name})


def names(s: Session) -> set[str]:
    """Every name that is paused."""
    return set(s.scalars(select(Pause.name)))


def is_paused(s: Session, worker: str) -> bool:
    """Whether this worker must take nothing new."""
    return _is_among(worker, names(s))


def _is_among(worker: str, paused: set[str]) -> bool:
    return worker in paused or worker.rsplit(".", 2)[0] in paused


def _seen(worker: BaseWorker, paused: bool) -> Seen:
    rq_id = worker.get_current_job_id()
    job_id = rq_id.rpartition("-")[0] if rq_id else None
    return Seen(worker.name, worker.name.rsplit(".", 2)[0], paused, job_id, worker.birth_date or now())
