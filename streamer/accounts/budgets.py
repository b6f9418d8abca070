"""Budgets of requests in Redis: one script and one round trip for each request, on the event loop, before anything else is done for it.

The generic cell rate algorithm: a budget of `quota` requests fills up again evenly over `window_s` seconds, so it is one number (when it will be
full) and nobody gains by waiting for a window to begin. Whose budget it is, the script itself finds out: the entry that Redis has of a login
session or of an API key that was found good names the account. A credential that Redis does not know is the client's own claim and counts for its
network, so inventing credentials gains nothing. (The budget's name is made in the script: this wants a Redis that is no cluster.)

Without Redis, or when it is slow, requests are not counted and go on: what must stay closed then (`throttle`) closes itself.
"""

import asyncio
import hashlib
import math
import time
from dataclasses import dataclass
from typing import Any

import redis.asyncio
import structlog
from redis.exceptions import NoScriptError, RedisError

_PATIENCE_S = 0.5
_REST_S = 1.0

TAKE = """
local entry = KEYS[1] and redis.call('GET', KEYS[1])
local who = entry and cjson.decode(entry)['user_id'] or ARGV[2]
local name = 'limit:' .. ARGV[1] .. ':' .. who
local quota, window = tonumber(ARGV[3]), tonumber(ARGV[4]) * 1000000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at = math.max(now, tonumber(redis.call('GET', name) or now)) + window / quota
local over = full_at - now - window
if over > 0 then return {-1, math.ceil(over / 1000)} end
redis.call('SET', name, string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return {math.floor(-over * quota / window + 0.000001), math.ceil((full_at - now) / 1000)}
"""
"""KEYS the entry of a credential, if there is one; ARGV kind, network, quota, seconds. What is left and in how many milliseconds the budget is
full again; or -1 and in how many there is something to take."""

_SHA = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Count:
    """What a budget of `quota` in `window_s` seconds says to a request. `seconds`: until it is full, or until it is worth trying again."""

    allowed: bool
    quota: int
    window_s: int
    left: int
    seconds: int


class Budgets:
    """For one event loop."""

    def __init__(self, kv: redis.asyncio.Redis) -> None:
        self._kv = kv
        self._rest_until = 0.0
        self._away = False

    async def take(self, kind: str, entry: str | None, network: str, quota: int, window_s: int) -> Count | None:
        """One request from a budget; None when nobody can say. `entry` is Redis' key for the credential that came along."""
        if time.monotonic() < self._rest_until:
            return None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                left, milliseconds = await self._run(entry, kind, network, quota, window_s)
        except (RedisError, OSError, TimeoutError) as error:
            self._leave(error)
            return None
        self._back()
        return Count(left >= 0, quota, window_s, max(0, left), math.ceil(milliseconds / 1000))

    async def _run(self, entry: str | None, *arguments: str | int) -> Any:
        keys = [entry] if entry else []
        try:
            return await self._kv.evalsha(_SHA, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self._kv.eval(TAKE, len(keys), *keys, *arguments)

    def _leave(self, error: Exception) -> None:
        """Said once, until Redis is back: a line for each request would be a flood of its own."""
        self._rest_until = time.monotonic() + _REST_S
        if not self._away:
            log.warning("requests are not counted: Redis does not answer", error=repr(error))
        self._away = True

    def _back(self) -> None:
        if self._away:
            log.info("requests are counted again")
        self._away = False
