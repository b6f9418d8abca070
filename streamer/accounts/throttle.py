"""Wrong passwords, counted in Redis per account and address and per address, so that guessing is slow and the owner,
who comes from another address, is never locked out. A try is counted before the password is looked at: a thousand at
once are a thousand tries. Without Redis nobody signs in (503): unlimited guessing would be worse. Letters are counted alike,
whether they will be sent or not.
"""

import hashlib

from redis.exceptions import RedisError

from streamer.errors import RateLimited, Unavailable
from streamer.services import Services

_PASSWORDS = "Too many wrong passwords. Wait a little and try again."
_CODES = "Too many wrong codes. Wait a little and try again."
_LETTERS = "Too many letters were asked for. Look into your mailbox, or wait a little."


def count_try(services: Services, email: str, address: str) -> None:
    """Count a sign-in, or RateLimited when there were too many in this window."""
    config = services.config.accounts
    try:
        _count(services, _pair(email, address), config.login_tries, config.login_window_s, _PASSWORDS)
        _count(services, f"login-tries:{address}", config.login_tries_address, config.login_window_s, _PASSWORDS)
    except RedisError as error:
        raise Unavailable("Sign-in is not available at the moment.") from error


def count_letter(services: Services, email: str, address: str) -> None:
    """Count a letter that somebody asks for, or RateLimited when there were too many in this window."""
    config = services.config.accounts
    try:
        _count(services, _pair(email, address, "letters"), config.letters, config.letters_window_s, _LETTERS)
        _count(services, f"letters:{address}", config.letters_address, config.letters_window_s, _LETTERS)
    except RedisError as error:
        raise Unavailable("Letters can't be sent at the moment.") from error


def count_code(services: Services, user_id: str) -> None:
    """Count a code of a second factor, wherever it comes from: only who knows the password gets so far."""
    config = services.config.accounts
    try:
        _count(services, f"code-tries:{user_id}", config.code_tries, config.login_window_s, _CODES)
    except RedisError as error:
        raise Unavailable("Codes can't be checked at the moment.") from error


def forgive_codes(services: Services, user_id: str) -> None:
    """The code was right: start counting anew."""
    services.kv_sync.delete(f"code-tries:{user_id}")


def forgive(services: Services, email: str, address: str) -> None:
    """The password was right: start counting anew."""
    services.kv_sync.delete(_pair(email, address))


def _count(services: Services, key: str, limit: int, window_s: int, sentence: str) -> None:
    with services.kv_sync.pipeline() as pipe:
        pipe.incr(key)
        pipe.expire(key, window_s, nx=True)
        pipe.ttl(key)
        tries, _, left = pipe.execute()
    if tries > limit:
        raise RateLimited(sentence, retry_after_s=max(1, left))


def _pair(email: str, address: str, what: str = "login-tries") -> str:
    account = hashlib.sha256(email.strip().casefold().encode()).hexdigest()[:32]
    return f"{what}:{account}:{address}"
