"""Wrong passwords and codes, counted in Redis so that guessing becomes slow and no owner is kept out.

A stranger's tries count for the account and the network they come from, and for that network over all accounts; a browser that has opened the
account before (`known_devices`) has a count of its own and takes no notice of those two. A count is forgiven evenly over `login_window_s`. At its
limit it locks, and each try after that twice as long as the one before. A try is counted before the password is looked at: a thousand at once are
a thousand tries; one that finds the lock closed is not, so that waiting helps. Without Redis nobody signs in (503): unlimited guessing would be
worse. Letters are counted too, by window, whether they will be sent or not.
"""

import math
from collections.abc import Mapping

from redis.exceptions import RedisError

from streamer.accounts.known_devices import account_of
from streamer.accounts.networks import network
from streamer.config import Accounts
from streamer.errors import RateLimited, Unavailable
from streamer.services import Services

_PASSWORDS = "Too many wrong passwords. Wait a little and try again."
_CODES = "Too many wrong codes. Wait a little and try again."
_LETTERS = "Too many letters were asked for. Look into your mailbox, or wait a little."

TRY = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local first, longest, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local wait = 0
for _, key in ipairs(KEYS) do wait = math.max(wait, tonumber(redis.call('HGET', key, 'until') or 0) - now) end
if wait > 0 then return tostring(wait) end
for place, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[3 + place])
  local before = redis.call('HMGET', key, 'tries', 'at')
  local forgiven = (now - tonumber(before[2] or now)) * limit / window
  local tries = math.max(0, tonumber(before[1] or 0) - forgiven) + 1
  local locked = 0
  if tries > limit - 0.5 then locked = math.min(longest, first * 2 ^ math.floor(tries - limit + 0.5)) end
  redis.call('HSET', key, 'tries', string.format('%.6f', tries), 'at', string.format('%.6f', now),
    'until', string.format('%.6f', now + locked))
  redis.call('EXPIRE', key, math.ceil(tries * window / limit + locked))
end
return '0'
"""
"""KEYS counts; ARGV seconds of the first lock, of the longest, of forgiving, and each count's limit. '0', or the seconds that are left of a lock."""

FORGIVE = """
local tries = tonumber(redis.call('HGET', KEYS[1], 'tries') or 0) - 1
if tries < 0 then return end
redis.call('HSET', KEYS[1], 'tries', string.format('%.6f', tries))
if tries < tonumber(ARGV[1]) - 0.5 then redis.call('HSET', KEYS[1], 'until', '0') end
"""
"""Takes one try back from a count that others have part in."""


def count_try(services: Services, email: str, address: str, device: str | None = None) -> None:
    """Count a sign-in, or RateLimited while a lock is closed. `device` is the browser, if it has opened this account before."""
    config = services.config.accounts
    try:
        _try(services, _counts(config, email, address, device), _PASSWORDS)
    except RedisError as error:
        raise Unavailable("Sign-in is not available at the moment.") from error


def forgive(services: Services, email: str, address: str, device: str | None = None) -> None:
    """The password was right: start counting anew, and take this try back from what others share."""
    own, *shared = _counts(services.config.accounts, email, address, device).items()
    services.kv_sync.delete(own[0])
    for key, limit in shared:
        services.kv_sync.eval(FORGIVE, 1, key, limit)


def count_code(services: Services, user_id: str, device: str | None = None) -> None:
    """Count a code of a second factor, wherever it comes from: only who knows the password gets so far."""
    try:
        _try(services, {_code_count(user_id, device): services.config.accounts.code_tries}, _CODES)
    except RedisError as error:
        raise Unavailable("Codes can't be checked at the moment.") from error


def forgive_codes(services: Services, user_id: str, device: str | None = None) -> None:
    """The code was right: start counting anew."""
    services.kv_sync.delete(_code_count(user_id, device))


def count_letter(services: Services, email: str, address: str) -> None:
    """Count a letter that somebody asks for, or RateLimited when there were too many in this window."""
    config, client = services.config.accounts, network(address)
    try:
        _count_letter(services, f"letters:{account_of(email)}:{client}", config.letters)
        _count_letter(services, f"letters:{client}", config.letters_address)
    except RedisError as error:
        raise Unavailable("Letters can't be sent at the moment.") from error


def _counts(config: Accounts, email: str, address: str, device: str | None) -> dict[str, int]:
    """Counts and their limits; the first is nobody else's."""
    account = account_of(email)
    if device:
        return {f"login-tries:{account}:device:{device}": config.login_tries}
    client = network(address)
    return {f"login-tries:{account}:{client}": config.login_tries, f"login-tries:{client}": config.login_tries_address}


def _code_count(user_id: str, device: str | None) -> str:
    return f"code-tries:{user_id}:{device}" if device else f"code-tries:{user_id}"


def _try(services: Services, counts: Mapping[str, int], sentence: str) -> None:
    config = services.config.accounts
    times = (config.login_lockout_s, config.login_lockout_max_s, config.login_window_s)
    wait_s = float(str(services.kv_sync.eval(TRY, len(counts), *counts, *times, *counts.values())))
    if wait_s > 0:
        raise RateLimited(sentence, retry_after_s=math.ceil(wait_s))


def _count_letter(services: Services, key: str, limit: int) -> None:
    with services.kv_sync.pipeline() as pipe:
        pipe.incr(key)
        pipe.expire(key, services.config.accounts.letters_window_s, nx=True)
        pipe.ttl(key)
        asked, _, left = pipe.execute()
    if asked > limit:
        raise RateLimited(_LETTERS, retry_after_s=max(1, left))
