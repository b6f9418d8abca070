"""`/livez`: the process answers. `/healthz`: it can do its work, because database, Redis and storage answer too.

The checks run side by side and each is given up after three seconds. The body says which one fails, and no more: who
may ask is anyone.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from storage import ObjectMissing
from streamer import db
from streamer.services import Services

_GIVE_UP_S = 3.0

log = structlog.get_logger(__name__)


async def live(request: Request) -> Response:
    return JSONResponse({"status": "live"})


async def ready(request: Request) -> Response:
    probes: Probes = request.app.state.probes
    checks = await probes.results()
    if all(result == "ok" for result in checks.values()):
        return JSONResponse({"status": "ready", "checks": checks})
    return JSONResponse({"status": "not ready", "checks": checks}, 503, {"Retry-After": "2"})


class Probes:
    """One thread per check, and one probe of each under way: who asks while it hangs waits for that one."""

    def __init__(self, services: Services) -> None:
        self._work: dict[str, Callable[[], object]] = {
            "database": lambda: _database(services),
            "redis": services.kv_sync.ping,
            "storage": lambda: _storage(services),
        }
        self._running: dict[str, asyncio.Future[object]] = {}
        self._threads = ThreadPoolExecutor(len(self._work), thread_name_prefix="health")

    async def results(self) -> dict[str, str]:
        """`ok` or `failed`, by what was asked."""
        results = await asyncio.gather(*map(self._check, self._work))
        return dict(zip(self._work, results, strict=True))

    async def _check(self, name: str) -> str:
        try:
            await asyncio.wait_for(asyncio.shield(self._probe(name)), _GIVE_UP_S)
        except Exception as error:  # whatever is wrong with a server we need, the answer is the same
            log.warning("health check failed", check=name, error=repr(error))
            return "failed"
        return "ok"

    def _probe(self, name: str) -> asyncio.Future[object]:
        running = self._running.get(name)
        if running is None or running.done():
            running = asyncio.get_running_loop().run_in_executor(self._threads, self._work[name])
            self._running[name] = running
        return running


def _database(services: Services) -> None:
    """Connected, and migrated."""
    with db.reading(services) as s:
        s.execute(text("SELECT version_num FROM alembic_version"))


def _storage(services: Services) -> None:
    """The answer that nothing is there is an answer."""
    try:
        services.store.head("healthz")
    except ObjectMissing:
        pass


routes = [Route("/livez", live), Route("/healthz", ready)]
