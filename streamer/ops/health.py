"""`/livez`: the process answers. `/healthz`: it can do its work, because database, Redis and storage answer too.

The checks run side by side and each is given up after three seconds. The body says which one fails, and no more: who
may ask is anyone.
"""

import asyncio
from collections.abc import Awaitable

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
    services: Services = request.app.state.services
    names = ("database", "redis", "storage")
    results = await asyncio.gather(
        _check("database", asyncio.to_thread(_database, services)),
        _check("redis", asyncio.to_thread(services.kv_sync.ping)),
        _check("storage", asyncio.to_thread(_storage, services)),
    )
    checks = dict(zip(names, results, strict=True))
    if all(result == "ok" for result in results):
        return JSONResponse({"status": "ready", "checks": checks})
    return JSONResponse({"status": "not ready", "checks": checks}, 503, {"Retry-After": "2"})


async def _check(name: str, work: Awaitable[object]) -> str:
    try:
        await asyncio.wait_for(work, _GIVE_UP_S)
    except Exception as error:  # whatever is wrong with a server we need, the answer is the same
        log.warning("health check failed", check=name, error=repr(error))
        return "failed"
    return "ok"


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
