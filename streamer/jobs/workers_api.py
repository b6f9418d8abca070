"""Workers over JSON: who is there, what they do, pause and resume."""

from typing import Any

import redis
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer import db, http, kv
from streamer.accounts import logins
from streamer.accounts.roles import Permission
from streamer.errors import Unavailable
from streamer.jobs import workers
from streamer.jobs.workers import Seen


def list_workers(request: Request) -> Response:
    logins.require(request, Permission.JOBS_READ)
    services = http.services(request)
    try:
        connection = kv.open_bytes(services.config.redis, services.config.redis_url)
        with db.reading(services) as s, connection:
            found, paused = workers.listed(s, connection), sorted(workers.names(s))
    except redis.RedisError:
        raise Unavailable("Redis does not answer, so nobody knows which workers there are. Jobs are safe.") from None
    return JSONResponse({"data": [document(each) for each in found], "paused": paused})


def pause_worker(request: Request) -> Response:
    logins.require(request, Permission.JOBS_WRITE)
    name = request.path_params["name"]
    db.retrying(http.services(request), lambda s: workers.pause(s, name))
    return JSONResponse({"name": name, "paused": True})


def resume_worker(request: Request) -> Response:
    logins.require(request, Permission.JOBS_WRITE)
    name = request.path_params["name"]
    db.retrying(http.services(request), lambda s: workers.resume(s, name))
    return JSONResponse({"name": name, "paused": False})


def document(worker: Seen) -> dict[str, Any]:
    """A worker as the API shows it."""
    return {
        "name": worker.name,
        "host": worker.host,
        "state": "paused" if worker.paused and not worker.job_id else "busy" if worker.job_id else "idle",
        "paused": worker.paused,
        "job_id": worker.job_id,
        "started_at": worker.since.isoformat(),
    }


routes = [
    Route("/workers", list_workers),
    Route("/workers/{name}/pause", pause_worker, methods=["POST"]),
    Route("/workers/{name}/resume", resume_worker, methods=["POST"]),
]
