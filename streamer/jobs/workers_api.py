"""Workers over JSON: who is there, what they do, pause and resume."""

from typing import Literal

import redis
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import db, http, kv
from streamer.accounts import doors
from streamer.accounts.roles import Permission
from streamer.errors import Unavailable
from streamer.jobs import workers
from streamer.jobs.workers import Seen
from streamer.operations import Operation, Time


class WorkerDocument(TypedDict):
    """A worker process on some host."""

    name: str
    host: str
    state: Literal["idle", "busy", "paused"]
    paused: bool
    job_id: str | None
    started_at: Time


class Workers(TypedDict):
    """Those that were heard of, and every name that is paused: of a worker, or of a host."""

    data: list[WorkerDocument]
    paused: list[str]


class PauseDocument(TypedDict):
    """Whether a worker, or all of a host, take nothing new."""

    name: str
    paused: bool


def list_workers(request: Request) -> Response:
    services = http.services(request)
    try:
        connection = kv.open_bytes(services.config.redis, services.config.redis_url)
        with db.reading(services) as s, connection:
            found, paused = workers.listed(s, connection), sorted(workers.names(s))
    except redis.RedisError:
        raise Unavailable("Redis does not answer, so nobody knows which workers there are. Jobs are safe.") from None
    told: Workers = {"data": [document(each) for each in found], "paused": paused}
    return JSONResponse(told)


def pause_worker(request: Request) -> Response:
    name = request.path_params["name"]
    db.retrying(http.services(request), lambda s: workers.pause(s, name))
    return _told(name, True)


def resume_worker(request: Request) -> Response:
    name = request.path_params["name"]
    db.retrying(http.services(request), lambda s: workers.resume(s, name))
    return _told(name, False)


def document(worker: Seen) -> WorkerDocument:
    """A worker as the API shows it."""
    return {
        "name": worker.name,
        "host": worker.host,
        "state": "paused" if worker.paused and not worker.job_id else "busy" if worker.job_id else "idle",
        "paused": worker.paused,
        "job_id": worker.job_id,
        "started_at": worker.since.isoformat(),
    }


def _told(name: str, paused: bool) -> Response:
    told: PauseDocument = {"name": name, "paused": paused}
    return JSONResponse(told)


_READ, _WRITE = doors.allowed(Permission.JOBS_READ), doors.allowed(Permission.JOBS_WRITE)

routes = [
    doors.route("/workers", list_workers, Operation("GET", "List workers", _READ, Workers)),
    doors.route(
        "/workers/{name}/pause", pause_worker, Operation("POST", "Pause a worker or a host", _WRITE, PauseDocument)
    ),
    doors.route("/workers/{name}/resume", resume_worker, Operation("POST", "End a pause", _WRITE, PauseDocument)),
]
