"""What a web process does by itself for the uploads it reaches: those on its machine's disk, where the scheduler may not be, or in storage.

When it starts, and now and then, it removes what died here and left bytes behind. It makes films of uploads whose bytes are all there and whose
storage failed; pauses double while it still does. Any number of processes may do so: each upload's lock lets one of them.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from storage import StorageError
from streamer.ingest import leftovers
from streamer.ingest.tus import films
from streamer.services import Services

_LONGEST_PAUSE_S = 300.0
_TIDY_S = 600.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """In the background while the block lasts; what has begun is finished."""
    stop = asyncio.Event()
    task = asyncio.create_task(_run(services, stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def _run(services: Services, stop: asyncio.Event) -> None:
    tidied = time.monotonic() - 2 * _TIDY_S
    pause_s = services.config.jobs.sweep_s
    while not stop.is_set():
        if time.monotonic() - tidied > _TIDY_S:
            await asyncio.to_thread(_tidy, services)
            tidied = time.monotonic()
        all_well = await asyncio.to_thread(_settle, services)
        pause_s = services.config.jobs.sweep_s if all_well else min(2 * pause_s, _LONGEST_PAUSE_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)


def _settle(services: Services) -> bool:
    try:
        made, left = films.settle(services)
    except (SQLAlchemyError, StorageError) as error:
        log.warning("whole uploads not looked for", error=str(error))
        return False
    except Exception:
        log.exception("whole uploads not looked for")
        return False
    if made:
        log.info("uploads that were whole made films", count=made)
    return not left


def _tidy(services: Services) -> None:
    try:
        if count := leftovers.tidy(services):
            log.info("left-over uploads removed", count=count)
    except (SQLAlchemyError, StorageError) as error:
        log.warning("left-over uploads not removed", error=str(error))
