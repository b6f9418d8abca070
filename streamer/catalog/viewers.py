"""Whether anybody watches a film that is still being made: its encoder then puts them before the rest. A mark in Redis that lapses."""

import redis
from redis.exceptions import RedisError

LAPSE_S = 60  # some heartbeats of a player that follows a growing film


def note(kv: redis.Redis, asset_id: str) -> None:
    kv.set(_key(asset_id), 1, ex=LAPSE_S)


def any_of(kv: redis.Redis, asset_id: str) -> bool:
    """Without Redis nobody is known to watch."""
    try:
        return bool(kv.exists(_key(asset_id)))
    except (RedisError, OSError):
        return False


def _key(asset_id: str) -> str:
    return f"watched:{asset_id}"
