"""Why a job stops short. Each carries what a person is told: a code, a title, a sentence, and whether trying again can help."""

from datetime import datetime
from typing import Any


class JobError(Exception):
    """Root of what work may raise to end its job."""


class TaskFailed(JobError):
    """The work could not be done. `retryable`: the same try may succeed later without anybody changing anything."""

    def __init__(self, code: str, title: str, detail: str, *, retryable: bool) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.title, self.detail, self.retryable = code, title, detail, retryable


class TaskStopped(JobError):
    """The work saw `task.cancelled()` and left; why it had to leave is known to the runner."""


class TaskPostponed(JobError):
    """The work has to wait for something else; it is tried again after `delay_s` seconds and nothing is counted against it."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(f"postponed by {delay_s:g} s")
        self.delay_s = delay_s


class LeaseLost(JobError):
    """The job belongs to another worker or to nobody by now; whatever this worker was about to write must not be written."""


def describe(error: TaskFailed, attempt: int, next_retry_at: datetime | None) -> dict[str, Any]:
    """The error as rows and the API show it."""
    return {
        "code": error.code,
        "title": error.title,
        "detail": error.detail,
        "retryable": error.retryable,
        "attempt": attempt,
        "next_retry_at": next_retry_at.isoformat() if next_retry_at else None,
    }
