"""Redis clients. Redis holds only what can be rebuilt: sessions, progress, counters, queues of ids.

`open_async` is for the event loop, `open_sync` for threads and workers; both answer text (`decode_responses`). RQ stores
bytes, so `open_bytes` is for it. None of them connects before its first command. Commands give up after the configured
seconds: a request never waits for a dead Redis longer than that.
"""

from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from streamer.config import Redis

_RETRIED = (RedisConnectionError,)  # a restarted server closed our idle connections; a slow one was waited for already


def open_async(config: Redis, url: str) -> redis.asyncio.Redis:
    """The client for the event loop that first uses it."""
    return redis.asyncio.Redis.from_url(
        url, decode_responses=True, retry=AsyncRetry(NoBackoff(), 1, _RETRIED), **_limits(config)
    )


def open_sync(config: Redis, url: str) -> redis.Redis:
    """The client for threads; safe to share between them."""
    return redis.Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 1, _RETRIED), **_limits(config))


def open_bytes(config: Redis, url: str) -> redis.Redis:
    """The client RQ needs: bytes in, bytes out, and no read timeout, because workers block on their queue."""
    return redis.Redis.from_url(url, socket_connect_timeout=config.connect_timeout_s, health_check_interval=30)


def _limits(config: Redis) -> dict[str, Any]:
    return {
        "socket_connect_timeout": config.connect_timeout_s,
        "socket_timeout": config.timeout_s,
        "max_connections": config.max_connections,
    }
