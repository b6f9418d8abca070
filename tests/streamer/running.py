"""A real uvicorn on a free port, in a thread, around an application."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from streamer import listener
from streamer.wire import Guarded


class _Quick(uvicorn.Server):
    """One that sees sooner that it has to stop."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # noqa: ASYNC110 - as its own loop does, only more often
            await asyncio.sleep(0.01)


@contextmanager
def running(app: ASGIApp, *, trusted_proxies: tuple[str, ...] = ()) -> Iterator[str]:
    """The base URL while the block lasts, with the options of `streamer web` that matter to a client."""
    sock = listener.listen("127.0.0.1", 0)
    options = uvicorn.Config(
        app,
        http=Guarded,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
    )
    server = _Quick(options)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "uvicorn did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()
