"""Jobs over JSON: see them, stop them, start them again."""

import json
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Select, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import cache, db, http, ids
from streamer.accounts import audit, doors, logins
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission, in_words
from streamer.errors import Forbidden, NotFound, unfit
from streamer.jobs import jobs, progress, queues, steps
from streamer.jobs.progress import Progress
from streamer.jobs.tables import Job, State
from streamer.operations import Id, Operation, Page, PageQuery, Time, one_of
from streamer.services import Services

_UNFINISHED = (State.QUEUED, State.RUNNING)


class ProgressDocument(TypedDict):
    """How far it is; `speed` is a multiple of real time. Null where it is not known yet."""

    stage: str
    percent: float
    eta_s: float | None
    speed: float | None


class _Status(TypedDict):
    state: Annotated[str, one_of(State)]
    attempt: int
    max_attempts: int
    progress: ProgressDocument | None
    error: dict[str, Any] | None


class JobDocument(_Status):
    """A piece of work on one subject."""

    id: Id
    kind: str
    subject_id: Id
    priority: int
    cancel_requested: bool
    run_after: Time
    created_at: Time
    started_at: Time | None
    finished_at: Time | None


class JobStep(_Status):
    """A part of a job; its name is unique in it."""

    id: Id
    name: str | None
    worker: str | None
    started_at: Time | None
    finished_at: Time | None


class JobWithSteps(JobDocument):
    """A job with its parts."""

    steps: list[JobStep]


class JobQuery(PageQuery, total=False):
    """Which jobs."""

    state: State
    subject_id: Annotated[str, Field(description="What the work is on: a version, an asset, an upload.")]


def list_jobs(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    query, asked = _wanted(request, who)

    def make() -> tuple[str, bool]:
        with db.reading(services) as s:
            rows, cursor = http.page(request, s, query, Job.id)
        return json.dumps({"data": [document(row, None) for row in rows], "next_cursor": cursor}), True

    text, hit = services.cache.text("jobs", asked, cache.listed("jobs"), make)
    return http.kept(_with_progress(services, text), hit)


def read_job(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)
    with db.reading(services) as s:
        row = _visible(s, request.path_params["id"], who)
        parts = steps.of(s, row.id)
    known = progress.read(services.kv_sync, [row.id, *(part.id for part in parts)])
    shown = [step_document(part, known.get(part.id)) for part in parts]
    told: JobWithSteps = {**document(row, known.get(row.id)), "steps": shown}
    return JSONResponse(told)


def cancel_job(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)

    def cancel(s: Session) -> Job:
        row = _changeable(s, request.path_params["id"], who)
        audit.record(s, "job.cancel", row.id, before=_told(row))
        return jobs.cancel(s, row.id)

    return _answer(services, db.retrying(services, cancel))


def retry_job(request: Request) -> Response:
    who, services = logins.require(request), http.services(request)

    def requeue(s: Session) -> Job:
        row = _changeable(s, request.path_params["id"], who)
        audit.record(s, "job.requeue", row.id, before=_told(row))
        return jobs.requeue(s, row.id)

    row = db.retrying(services, requeue)
    queues.dispatch(services, [row])
    return _answer(services, row)


def _wanted(request: Request, who: Principal) -> tuple[Select[Job], str]:
    """The jobs that somebody asks for, of those they see; and a name of what it is they ask."""
    query, told = select(Job).where(Job.parent_id.is_(None)), dict[str, str]()
    if not who.can(Permission.JOBS_READ):
        query, told["owner"] = query.where(Job.owner_id == who.user_id), who.user_id
    if (state := request.query_params.get("state")) is not None:
        query, told["state"] = query.where(Job.state == _state(state)), state
    if subject := request.query_params.get("subject_id"):
        told["subject"] = subject if ids.is_id(subject) else ""
        query = query.where(Job.subject_id == told["subject"])
    told |= {"cursor": http.cursor(request) or "", "limit": str(http.limit(request))}
    return query, json.dumps(told)


def _with_progress(services: Services, text: str) -> str:
    """A page of jobs with what changes from moment to moment and is never kept."""
    page: Page[JobDocument] = json.loads(text)
    going = [one for one in page["data"] if one["state"] in _UNFINISHED]
    known = progress.read(services.kv_sync, [one["id"] for one in going])
    for one in going:
        one["progress"] = _progress(known.get(one["id"]))
    return json.dumps(page) if known else text


def document(row: Job, known: Progress | None) -> JobDocument:
    """A job as the API shows it."""
    return {
        "id": row.id,
        "kind": row.kind,
        "subject_id": row.subject_id,
        "priority": row.priority,
        **_status(row, known),
        "cancel_requested": row.cancel_requested_at is not None,
        "run_after": http.time(row.run_after),
        "created_at": http.time(row.created_at),
        "started_at": http.time(row.started_at),
        "finished_at": http.time(row.finished_at),
    }


def step_document(row: Job, known: Progress | None) -> JobStep:
    """A part of a job: a run of chunks, a sound track. The name is unique in its job."""
    return {
        "id": row.id,
        "name": row.step,
        "worker": row.lease_owner,
        **_status(row, known),
        "started_at": http.time(row.started_at),
        "finished_at": http.time(row.finished_at),
    }


def _status(row: Job, known: Progress | None) -> _Status:
    return {
        "state": row.state,
        "attempt": row.attempt,
        "max_attempts": row.max_attempts,
        "progress": _progress(known) if row.state in _UNFINISHED else None,
        "error": row.error,
    }


def _progress(known: Progress | None) -> ProgressDocument | None:
    if known is None:
        return None
    return {"stage": known.stage, "percent": known.percent, "eta_s": known.eta_s, "speed": known.speed}


def _visible(s: Session, job_id: str, who: Principal) -> Job:
    row = jobs.get(s, job_id)
    if row.owner_id != who.user_id and not who.can(Permission.JOBS_READ):
        raise NotFound("There is no job with this id.")
    return row


def _changeable(s: Session, job_id: str, who: Principal) -> Job:
    row = _visible(s, job_id, who)
    if not (who.can(Permission.JOBS_WRITE) or (row.owner_id == who.user_id and who.unrestricted)):
        raise Forbidden(
            f"Only the owner of this job, or somebody with the permission {in_words([Permission.JOBS_WRITE])}, can do this. Ask one of them,"
            " or an administrator for a role that has it."
        )
    return row


def _told(row: Job) -> dict[str, Any]:
    """A job as the audit log names it."""
    return {"kind": row.kind, "subject_id": row.subject_id, "state": str(row.state)}


def _answer(services: Services, row: Job) -> Response:
    return JSONResponse(document(row, progress.read(services.kv_sync, [row.id]).get(row.id)))


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError:
        raise unfit("state", f"must be one of {', '.join(State)}", text) from None


_READ = doors.readable(Permission.JOBS_READ)
_WRITE = doors.changeable(Permission.JOBS_WRITE, seen=Permission.JOBS_READ)

routes = [
    doors.route("/jobs", list_jobs, Operation("GET", "List jobs", doors.ACCOUNT, Page[JobDocument], query=JobQuery)),
    doors.route("/jobs/{id}", read_job, Operation("GET", "Read a job with its steps", _READ, JobWithSteps)),
    doors.route(
        "/jobs/{id}/cancel", cancel_job, Operation("POST", "Cancel a job", _WRITE, JobDocument, refuses=(409,))
    ),
    doors.route(
        "/jobs/{id}/retry", retry_job, Operation("POST", "Run a job again", _WRITE, JobDocument, refuses=(409,))
    ),
]
