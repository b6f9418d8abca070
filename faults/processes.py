"""Faults of the product's own processes: killed, all killed, or stopped so long that others take their work."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import redis
from sqlalchemy import select

from streamer import db
from streamer.jobs import queues
from streamer.jobs.tables import Job, State
from streamer.services import close_services, open_services
from tests.whole import Product

Fault = Callable[[Product, random.Random], None]
"""Breaks something of a running product, waits if it lasts, and mends what nobody else would."""

PARTS = {"web": " web", "worker": " worker", "scheduler": " scheduler", "encoder": "packager.child"}
EMBEDDED = {"valkey": "valkey-server"}
ASLEEP_S = (3.5, 6.0)
"""Longer than the lease of `tests.whole.IMPATIENT`."""


def kill_of(word: str) -> Fault:
    """kill -9 of all processes whose command line has the word."""

    def fault(product: Product, chance: random.Random) -> None:
        for pid in product.pids(word):
            _signal(pid, signal.SIGKILL)

    return fault


def kill_all(product: Product, chance: random.Random) -> None:
    """The machine goes, and comes back."""
    product.process.kill()  # the kernel ends its children with it
    product.process.wait()
    product.__enter__()


def worker_sleeps(product: Product, chance: random.Random) -> None:
    """A worker with its encoders is stopped until others have its work, and then goes on as if nothing had happened."""
    asleep = product.pids(PARTS["worker"]) + product.pids(PARTS["encoder"])
    for pid in asleep:
        _signal(pid, signal.SIGSTOP)
    time.sleep(chance.uniform(*ASLEEP_S))
    for pid in asleep:
        _signal(pid, signal.SIGCONT)


def flushall(product: Product, chance: random.Random) -> None:
    """Redis forgets everything."""
    with suppress(redis.RedisError), redis.Redis.from_url(product.config.redis_url) as client:
        client.flushall()


def duplicates(product: Product, chance: random.Random) -> None:
    """Every job and step that waits or runs is handed out three times more."""
    services = open_services(product.config)
    try:
        with db.reading(services) as s:
            unfinished = s.scalars(select(Job).where(Job.state.in_((State.QUEUED, State.RUNNING)))).all()
        queues.dispatch(services, [*unfinished] * 3)
    finally:
        close_services(services)


OF_PROCESSES: Mapping[str, Fault] = {
    **{name: kill_of(word) for name, word in PARTS.items()},
    "all": kill_all,
    "asleep": worker_sleeps,
    "flushall": flushall,
    "duplicates": duplicates,
}


def _signal(pid: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(pid, what)
