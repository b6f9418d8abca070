"""Who is watching now, in Redis: one hash per playback session, which lapses when nobody has been heard of for a while.

Redis only observes. A session it has lost is made again from the token or from SQL; a Redis that is down or slow stops nobody: the origin
waits a quarter of a second once and then does not ask for the next. Only a kill counts: it has a key of its own beside the hash (same
slot in a cluster), and no script brings a killed session back.

The entry playlist asks here. Requests that come while an answer is outstanding share the next question, so a rush of viewers costs Redis
one exchange at a time instead of one each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import redis.asyncio
from redis.exceptions import RedisError

from streamer.delivery.tokens import Grant

_PATIENCE_S = 0.25
_REST_S = 1.0

TOUCH = """
local known = {}
for place, key in ipairs(KEYS) do known[place] = redis.call('EXPIRE', key, ARGV[1]) end
return known
"""
"""Renew many sessions at once, 1 for each that was there. One command for all costs a tenth of a pipeline of as many."""

OPEN = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""
"""Make or update a session: KEYS hash and kill, ARGV seconds to live and fields. 0 when it was killed."""

BEAT = """
if redis.call('EXISTS', KEYS[2]) == 1 then return {0, ''} end
if redis.call('EXISTS', KEYS[1]) == 0 then return {-1, ''} end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return {1, redis.call('HGET', KEYS[1], 'exp') or ''}
"""
"""A heartbeat: 0 killed, -1 unknown, 1 noted, with the Unix second at which the newest token ends."""


def keys(sid: str) -> tuple[str, str]:
    """The session's hash and the mark of its being killed."""
    return f"pbs:{{{sid}}}", f"pbs:{{{sid}}}:killed"


def flat(fields: Mapping[str, str | int | float]) -> list[str | int | float]:
    """Fields as HSET's arguments."""
    return [part for pair in fields.items() for part in pair]


class Presence:
    """The origin's face of it, for one event loop."""

    def __init__(self, kv: redis.asyncio.Redis, idle_s: int) -> None:
        self._kv = kv
        self._idle_s = idle_s
        self._waiting: dict[Grant, asyncio.Future[bool]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._rest_until = 0.0

    async def touch(self, grant: Grant) -> bool:
        """Note that the session is being watched; False when it was killed, True when nobody can say."""
        if time.monotonic() < self._rest_until:
            return True
        answer = self._waiting.get(grant)
        if answer is None:
            answer = self._waiting[grant] = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask_all())
        return await answer

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                for answer, alive in zip(batch.values(), await self._ask(list(batch)), strict=True):
                    if not answer.done():
                        answer.set_result(alive)
        finally:
            self._asking = None

    async def _ask(self, grants: list[Grant]) -> list[bool]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._alive(grants)
        except (RedisError, OSError, TimeoutError):
            self._rest_until = time.monotonic() + _REST_S
            return [True] * len(grants)

    async def _alive(self, grants: list[Grant]) -> list[bool]:
        """One exchange for all sessions, and a second to make again those that Redis does not know."""
        names = [keys(grant.sid)[0] for grant in grants]
        known = await self._kv.eval(TOUCH, len(names), *names, self._idle_s)
        lost = [grant for grant, renewed in zip(grants, known, strict=True) if not renewed]
        made = dict(zip(lost, await self._open(lost), strict=True)) if lost else {}
        return [made.get(grant, 1) == 1 for grant in grants]

    async def _open(self, grants: list[Grant]) -> list[int]:
        async with self._kv.pipeline(transaction=False) as pipe:
            for grant in grants:
                pipe.eval(OPEN, 2, *keys(grant.sid), self._idle_s, *flat(_facts(grant)))
            return [int(answer) for answer in await pipe.execute()]


def _facts(grant: Grant) -> dict[str, str | int | float]:
    return {"path": f"{grant.asset}/{grant.version}", "cap": grant.cap, "exp": grant.exp, "seen_at": int(time.time())}
