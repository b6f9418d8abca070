"""Wrong passwords, counted in Redis per account and address and per address, so that guessing is slow and the owner,
who comes from another address, is never locked out. A try is counted before the password is looked at: a thousand at
once are a thousand tries. Without Redis nobody signs in (503): unlimited guessing would be worse.
"""

import hashlib

from redis.exceptions import RedisError

from streamer.config import Accounts
from streamer.errors import RateLimited, Unavailable
from streamer.services import Services


def count_try(services: Services, email: str, address: str) -> None:
    """Count a sign-in, or RateLimited when there were too many in this window."""
    config = services.config.accounts
    try:
        _count(services, config, _pair(email, address), config.login_tries)
        _count(services, config, f"login-tries:{address}", config.login_tries_address)
    except RedisError as error:
        raise Unavailable("Sign-in is not available at the moment.") from error


def forgive(services: Services, email: str, address: str) -> None:
    """The password was right: start counting anew."""
    services.kv_sync.delete(_pair(email, address))


def _count(services: Services, config: Accounts, key: str, limit: int) -> None:
    with services.kv_sync.pipeline() as pipe:
        pipe.incr(key)
        pipe.expire(key, config.login_window_s, nx=True)
        pipe.ttl(key)
        tries, _, left = pipe.execute()
    if tries > limit:
        raise RateLimited("Too many wrong passwords. Wait a little and try again.", retry_after_s=max(1, left))


def _pair(email: str, address: str) -> str:
    account = hashlib.sha256(email.strip().casefold().encode()).hexdigest()[:32]
    return f"login-tries:{account}:{address}"
