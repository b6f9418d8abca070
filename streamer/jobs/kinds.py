"""What kinds of work there are, by dotted path: jobs run what later rooms of the house define, and import none of them.

`run(task)` does the work in a worker and answers what to write when it is done; `follow(session, job)` keeps the
subject's row in step with every change of the job's state, in the same transaction, and may refuse it by raising. `level(session, owner_id)`
is one of `urgency.LEVELS`: how early such work of a person has its turn.
The web calls `follow` only, so it must not import the packager.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from streamer.jobs.tables import Job


@dataclass(frozen=True, slots=True)
class Kind:
    """Paths are `package.module:function`. What is `lasting` and did not succeed is never too old to be retried."""

    run: str
    follow: str | None = None
    cancellable: bool = True
    level: str | None = None
    lasting: bool = False


_OF_PLAN = "streamer.billing.holders:encode_priority"

KINDS: dict[str, Kind] = {
    "transcode": Kind(
        run="streamer.ingest.transcode:run", follow="streamer.catalog.versions:follow", level=_OF_PLAN, lasting=True
    ),
    "fetch": Kind(run="streamer.ingest.fetch:run", follow="streamer.ingest.imports:follow", level=_OF_PLAN),
    "encode": Kind(run="streamer.ingest.encode:run"),  # a step of a transcode
    "mail": Kind(run="streamer.membership.writer:run", follow="streamer.membership.outgoing:follow"),
    "delete": Kind(run="streamer.catalog.deletion:run", cancellable=False),  # promised to whoever deleted the film
    "delete_version": Kind(run="streamer.catalog.deletion:run_version", cancellable=False),
}


def runner(kind: str) -> Callable[..., Any]:
    """The function that does this kind of work; KeyError for a kind this build does not know."""
    return _load(KINDS[kind].run)


def is_cancellable(kind: str) -> bool:
    """Whether people may stop it."""
    return kind not in KINDS or KINDS[kind].cancellable


def lasting() -> list[str]:
    """The kinds whose failed and cancelled jobs are kept."""
    return [name for name, kind in KINDS.items() if kind.lasting]


def level(s: Session, kind: str, owner_id: str | None) -> int | None:
    """How early work of this kind has its turn, whosever it is; None for work that goes by its own priority."""
    path = KINDS[kind].level if kind in KINDS else None
    return int(_load(path)(s, owner_id)) if path else None


def follow(s: Session, job: Job) -> None:
    """Tell the subject's room that the job's state changed."""
    kind = KINDS.get(job.kind)
    if kind is not None and kind.follow is not None:
        _load(kind.follow)(s, job)


def _load(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
