"""Who is watching: shared questions to Redis, and none at all while it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from streamer.delivery import presence
from streamer.delivery.presence import Presence
from streamer.delivery.tokens import Grant


def grant(sid: str) -> Grant:
    return Grant("k1", 2_000_000_000, 720, sid, "ast_1", "v1")


@pytest.fixture
async def kv(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


async def commands(kv: redis.asyncio.Redis) -> int:
    stats = await kv.info("commandstats")
    return int(stats.get("cmdstat_eval", {"calls": 0})["calls"])


async def test_a_rush_of_viewers_costs_few_commands(kv: redis.asyncio.Redis) -> None:
    here = Presence(kv, 60)
    crowd = [grant(f"pbs_{number}") for number in range(500)]
    assert all(await asyncio.gather(*(here.touch(one) for one in crowd)))
    before = await commands(kv)
    assert all(await asyncio.gather(*(here.touch(one) for one in crowd)))
    assert await commands(kv) - before <= 2
    assert await kv.ttl(presence.keys("pbs_499")[0]) == pytest.approx(60, abs=1)


async def test_everyone_in_a_rush_gets_their_own_answer(kv: redis.asyncio.Redis) -> None:
    for number in range(0, 100, 3):
        await kv.set(presence.keys(f"pbs_{number}")[1], "1")
    here = Presence(kv, 60)
    answers = await asyncio.gather(*(here.touch(grant(f"pbs_{number}")) for number in range(100)))
    assert answers == [number % 3 != 0 for number in range(100)]


async def test_a_session_made_again_says_what_its_token_says(kv: redis.asyncio.Redis) -> None:
    assert await Presence(kv, 60).touch(grant("pbs_1"))
    facts = await kv.hgetall(presence.keys("pbs_1")[0])
    assert (facts["path"], facts["cap"], facts["exp"]) == ("ast_1/v1", "720", "2000000000")


async def test_a_viewer_who_gives_up_leaves_the_others_their_answer(kv: redis.asyncio.Redis) -> None:
    here = Presence(kv, 60)
    waiting = [asyncio.ensure_future(here.touch(grant(f"pbs_{number}"))) for number in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    assert [await waiting[0], await waiting[2]] == [True, True]
    assert await here.touch(grant("pbs_1"))


async def test_without_redis_everyone_is_let_in_and_it_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async with redis.asyncio.Redis.from_url(f"unix://{tmp_path}/nobody.sock") as kv:
        here = Presence(kv, 60)
        began = time.monotonic()
        assert all(await asyncio.gather(*(here.touch(grant(f"pbs_{number}")) for number in range(50))))
        assert all([await here.touch(grant("pbs_x")) for _ in range(1000)])
        assert time.monotonic() - began < 0.9
