"""A worker or scheduler in a process of its own, and work that leaves a trace: `python -m tests.streamer.jobs.standin worker`.

Configuration comes from the environment, as for `streamer worker`. A step that is in the trace already is not done again, as the packager
does with its chunks.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy.orm import Session

from streamer import log
from streamer.config import Config
from streamer.jobs import kinds, scheduler, worker
from streamer.jobs.errors import TaskFailed, TaskStopped
from streamer.jobs.kinds import Kind
from streamer.jobs.runner import Outcome, Task
from tests.servers import die_with_parent

KIND = Kind(run="tests.streamer.jobs.standin:run")
STEP_S = 0.05


def run(task: Task) -> Outcome:
    trace, mode = Path(task.claim.payload["trace"]), task.claim.payload.get("mode", "")
    child = subprocess.Popen(["sleep", "1000"], preexec_fn=die_with_parent)
    _note(trace, f"begin {os.getpid()} {child.pid} {task.claim.attempt} {task.claim.fence}")
    if mode == "refuse":
        raise TaskFailed("refused", "Refused", "This never works.", retryable=False)
    if mode == "raise":
        raise ZeroDivisionError("a bug")
    if mode == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    for step in range(task.claim.payload.get("steps", 5)):
        if f"step {step}" in trace.read_text().splitlines():
            continue
        if task.stopped() and mode != "deaf":
            child.kill()
            raise TaskStopped
        time.sleep(STEP_S)
        task.report("encoding", float(step), eta_s=1.0, speed=2.0)
        _note(trace, f"step {step}")
    child.kill()

    def outcome(s: Session) -> None:
        _note(trace, "published")

    return outcome


def _note(trace: Path, line: str) -> None:
    with trace.open("a") as file:
        file.write(line + "\n")


def main(role: str) -> None:
    kinds.KINDS["test"] = KIND
    config = Config.load()
    log.setup(config.log, role)
    {"worker": worker.run, "scheduler": scheduler.run}[role](config)


if __name__ == "__main__":
    main(sys.argv[1])
