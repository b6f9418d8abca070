"""Sessions that were ended by an operator: rows in SQL, mirrored in each web process so that media are refused without a lookup.

The mirror is at most REFRESH_S old. While SQL is away the last one stays in force; a kill is forgotten when its tokens have expired.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
from sqlalchemy import select

from streamer import db
from streamer.delivery.tables import PlaybackSession

REFRESH_S = 15.0
_FIRST_S = 2.0

log = structlog.get_logger(__name__)


class Kills:
    """`sid in kills`, for one event loop. `keep_s` is the longest life of a token with its skew, in seconds."""

    def __init__(self, source: db.HasEngine, keep_s: int) -> None:
        self._source = source
        self._keep = timedelta(seconds=keep_s)
        self._sids: frozenset[str] = frozenset()

    def __contains__(self, sid: str) -> bool:
        return sid in self._sids

    async def refresh(self) -> None:
        """Read the rows now. Whatever goes wrong, the present list stays and the next round tries again."""
        try:
            self._sids = await asyncio.to_thread(self._read)
        except Exception as error:  # a mirror that stops for good would leave killed sessions playing
            log.warning("kill list not refreshed", error=str(error))

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Keep the mirror fresh while the block lasts. It begins filled, unless SQL hangs: that must not keep media waiting."""
        filled = asyncio.Event()
        task = asyncio.create_task(self._watch(filled))
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(filled.wait(), _FIRST_S)
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self, filled: asyncio.Event) -> None:
        while True:
            await self.refresh()
            filled.set()
            await asyncio.sleep(REFRESH_S)

    def _read(self) -> frozenset[str]:
        with db.reading(self._source) as s:
            return frozenset(
                s.scalars(select(PlaybackSession.id).where(PlaybackSession.killed_at > db.now() - self._keep))
            )
