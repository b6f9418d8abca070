"""Workers and schedulers as processes that a test may kill, and what it looks at meanwhile."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamer import db
from streamer.config import Config
from streamer.jobs import jobs, queues
from streamer.jobs.tables import Job
from streamer.services import Services
from tests.servers import ROOT, die_with_parent
from tests.streamer.stack import wait_for

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Trace:
    """What the standin's work wrote down."""

    path: Path

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    @property
    def steps(self) -> list[str]:
        return [line for line in self.lines if line.startswith("step")]

    @property
    def begins(self) -> list[list[int]]:
        """(pid of the horse, pid of its child, attempt, fence) of each begin."""
        return [[int(word) for word in line.split()[1:]] for line in self.lines if line.startswith("begin")]


@contextmanager
def process(role: str, config: Config, log: Path) -> Iterator[Process]:
    """`streamer worker` or `streamer scheduler` with the standin's kind of work."""
    command = [sys.executable, "-m", "tests.streamer.jobs.standin", role]
    with log.open("ab") as output:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment(config), stdout=output, stderr=output, preexec_fn=die_with_parent
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def environment(config: Config) -> dict[str, str]:
    """The settings that tests change, for a child process."""
    env = {**os.environ, "STREAMER_DATA__DIR": str(config.data.dir)}
    env |= {"STREAMER_DATABASE__URL": config.database_url, "STREAMER_REDIS__URL": config.redis_url}
    env |= {"STREAMER_STORAGE__URL": config.storage_url, "STREAMER_INGEST__MIN_FREE_BYTES": "0"}
    return env | {f"STREAMER_JOBS__{name.upper()}": str(value) for name, value in config.jobs.model_dump().items()}


def start(services: Services, trace: Trace, **payload: Any) -> Job:
    """A job for the standin, queued and dispatched."""
    with db.session(services) as s:
        wanted = {"trace": str(trace.path), **payload}
        job = jobs.enqueue(s, "test", "ver_1", max_attempts=services.config.jobs.max_attempts, payload=wanted)
    queues.dispatch(services, [job])
    return job


def row(services: Services, job: Job) -> Job:
    with db.reading(services) as s:
        return jobs.get(s, job.id)


def wait_for_state(services: Services, job: Job, *states: str, timeout_s: float = 20) -> Job:
    def reached() -> Job | None:
        now = row(services, job)
        return now if now.state in states else None

    found = wait_for(reached, timeout_s)
    assert found is not None
    return found


def is_alive(pid: int) -> bool:
    """A zombie counts as dead: it only waits to be read by a parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
