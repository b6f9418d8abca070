"""The heartbeat of a claimed job: a thread that keeps the lease and notices that the work has to stop.

It looks at the row twice a second, so a cancel reaches the encoder well within 2 s, and renews the lease every few
seconds. When the work doesn't leave by itself soon after it was told, `insist` ends the process: nothing is lost by
that which a kill -9 would not lose too. A database that doesn't answer is no reason to stop; the fence decides at the end.
"""

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError

from streamer import db
from streamer.jobs import jobs
from streamer.services import Services

_LOOK_S = 0.4
_PATIENCE_S = 1.2

log = structlog.get_logger(__name__)


class Stop(StrEnum):
    """Why the work has to stop."""

    CANCELLED = "cancelled"  # somebody asked for it
    LEAVING = "leaving"  # this worker shuts down; another one goes on
    LOST = "lost"  # the lease is gone; nothing may be written any more


class Pulse:
    """`with Pulse(…) as pulse:` around the work; `pulse.stop` is set when it has to end."""

    def __init__(
        self,
        services: Services,
        claim: jobs.Claim,
        *,
        leaving: Callable[[], bool] = lambda: False,
        insist: Callable[[Stop], None] | None = None,
    ) -> None:
        self.stop: Stop | None = None
        self._services, self._claim, self._leaving, self._insist = services, claim, leaving, insist
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def stopped(self) -> bool:
        """What the work asks, often."""
        return self.stop is not None

    def _run(self) -> None:
        renewed = time.monotonic()
        while self.stop is None and not self._over.wait(_LOOK_S):
            due = time.monotonic() - renewed >= self._services.config.jobs.heartbeat_s
            try:
                self.stop = self._beat(renew=due)
            except SQLAlchemyError as error:
                log.warning("heartbeat failed", job=self._claim.job_id, error=str(error))
                continue
            renewed = time.monotonic() if due else renewed
        if self.stop is not None and self._insist is not None and not self._over.wait(_PATIENCE_S):
            self._insist(self.stop)

    def _beat(self, *, renew: bool) -> Stop | None:
        with db.reading(self._services) as s:
            held, cancelled = jobs.look(s, self._claim)
        if not held or (renew and not self._renew()):
            return Stop.LOST
        if cancelled:
            return Stop.CANCELLED
        return Stop.LEAVING if self._leaving() else None

    def _renew(self) -> bool:
        return db.retrying(self._services, lambda s: jobs.renew(s, self._claim, self._services.config.jobs.lease_s))
