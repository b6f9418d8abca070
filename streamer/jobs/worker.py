"""`streamer worker`: takes job ids from RQ and runs each in a child process (RQ's work horse) of its own.

A codec that crashes or eats all memory ends one child, and the worker tells SQL at once. When the worker itself is killed, the kernel kills the child
with it (PR_SET_PDEATHSIG), so no orphan goes on encoding beside the worker that takes over. SIGTERM asks the child to give its job back; a
second one kills it.
"""

import ctypes
import os
import signal
import time
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import redis
import structlog
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus
from sqlalchemy.exc import SQLAlchemyError

from streamer import db, kv
from streamer.config import Config
from streamer.jobs import jobs, queues, runner, workers
from streamer.services import Services, close_services, open_services

_PR_SET_PDEATHSIG = 1
_PAUSE_LOOK_S = 1.0

log = structlog.get_logger(__name__)


@dataclass
class Horse:
    """What the child process knows of the worker that it belongs to."""

    services: Services
    worker: str
    leaving: bool = False


_horse: ContextVar[Horse] = ContextVar("horse")


def run(config: Config) -> None:
    """Work until SIGTERM. A Redis that is away is waited for."""
    services = open_services(config)
    try:
        while _work(services):
            time.sleep(1)  # RQ left its loop by itself, because Redis failed in the middle of a job
    finally:
        close_services(services)


def run_job(job_id: str) -> None:
    """What RQ calls in the child."""
    horse = _horse.get()
    if is_paused(horse.services, horse.worker):
        log.info("paused, so the job is left to others", job=job_id)  # a sweep hands it out again
        return
    runner.perform(horse.services, job_id, horse.worker, leaving=lambda: horse.leaving, insist=_kill_group)


def is_paused(services: Services, worker: str) -> bool:
    """A database that is away pauses nobody."""
    try:
        with db.reading(services) as s:
            return workers.is_paused(s, worker)
    except SQLAlchemyError as error:
        log.warning("pauses not seen", error=str(error))
        return False


class FilmWorker(Worker):
    """RQ's forking worker with our rules about dying."""

    max_connection_wait_time = 2.0
    services: Services
    asked_to_stop = False

    def check_for_suspension(self, burst: bool) -> None:
        """Between two jobs: wait while somebody has paused us."""
        super().check_for_suspension(burst)
        while not self._stop_requested and is_paused(self.services, self.name):
            self.set_state(WorkerStatus.SUSPENDED)
            self.heartbeat()
            time.sleep(_PAUSE_LOOK_S)

    def main_work_horse(self, job: RqJob, queue: Queue) -> None:
        _die_with(self.pid)
        self.services.engine.dispose(close=False)  # its connections belong to the parent
        _horse.set(Horse(self.services, self.name))
        super().main_work_horse(job, queue)

    def setup_work_horse_signals(self) -> None:
        horse = _horse.get()

        def leave(signum: int, frame: FrameType | None) -> None:
            horse.leaving = True

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, leave)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.asked_to_stop = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        if self.horse_pid:
            os.kill(self.horse_pid, signal.SIGTERM)

    def maintain_heartbeats(self, job: RqJob, execution: Execution) -> None:
        try:
            super().maintain_heartbeats(job, execution)
        except redis.RedisError as error:
            log.warning("Redis is away, the job goes on", error=str(error))

    def handle_work_horse_killed(self, job: RqJob, retpid: int, ret_val: int, rusage: Any) -> None:
        """The child died of a signal: say so in SQL now instead of letting the lease run out."""
        try:
            taken = db.retrying(self.services, lambda s: jobs.lost_by(s, self.name))
        except SQLAlchemyError as error:
            log.warning("lost job not recorded, its lease will expire", error=str(error))
            return
        for each in taken:
            log.warning("job lost with its process", job=each.id, status=ret_val)
        queues.dispatch(self.services, taken)


def _work(services: Services) -> bool:
    """One RQ worker's life; whether there should be another one."""
    connection = kv.open_bytes(services.config.redis, services.config.redis_url)
    worker = None
    try:
        worker = _hire(services, connection)
        worker.work(logging_level="WARNING", with_scheduler=False)  # what matters is logged by us
    except redis.RedisError as error:
        log.warning("waiting for Redis", error=str(error))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        connection.close()
    return worker is None or not worker.asked_to_stop


def _hire(services: Services, connection: redis.Redis) -> FilmWorker:
    connection.ping()
    worker = FilmWorker(
        queues.names(services.config.jobs.queue),
        name=workers.new_name(),
        connection=connection,
        serializer=JSONSerializer,
        default_result_ttl=0,
        log_job_description=False,
    )
    worker.services = services
    return worker


def _die_with(worker: int | None) -> None:
    """Have the kernel kill this process when the thread that forked it ends (prctl(2)); at once if that has happened already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != worker:
        os._exit(1)


def _kill_group() -> NoReturn:
    """End this process and all it started, now."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise AssertionError("unreachable: SIGKILL came first")
