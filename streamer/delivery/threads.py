"""The threads in which the origin reads storage. They are its own, so that a slow database or health check never holds up media.

As many as a store is asked for at once; more askers wait for a thread.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

READERS = ThreadPoolExecutor(32, thread_name_prefix="origin")


async def reading(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`work(…)` in one of the origin's threads."""
    return await asyncio.get_running_loop().run_in_executor(READERS, lambda: work(*args, **kwargs))
