"""Work done again and again in a thread, until it is told to stop."""

from collections.abc import Callable
from threading import Event

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

POLL_S = 0.5  # what looks costs one indexed query

log = structlog.get_logger(__name__)


def until(stop: Event, **steps: Callable[[], object]) -> None:
    """All steps, twice a second. A server that is away costs its step this round, and one line in the log for all of them."""
    troubled: set[str] = set()
    while not stop.wait(POLL_S):
        for name, step in steps.items():
            _guarded(name, step, troubled)


def _guarded(name: str, step: Callable[[], object], troubled: set[str]) -> None:
    try:
        step()
        troubled.discard(name)
    except (SQLAlchemyError, redis.RedisError) as error:
        if name not in troubled:
            log.warning("has to wait", step=name, error=str(error))
        troubled.add(name)
    except Exception:
        log.exception("step failed", step=name)
