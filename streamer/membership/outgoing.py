"""Letters on their way: a job each, written and sent by a worker.

Whoever asks for one waits for one row to be written, whether an account is known or not: it is the worker who looks. So neither the text nor the
time of an answer tells. Links are made by the worker too: nothing that opens anything is ever in a job.
"""

from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy.orm import Session

from streamer import ids
from streamer.accounts import users
from streamer.accounts.notices import Notice
from streamer.config import Config
from streamer.jobs import jobs, urgency
from streamer.jobs.tables import Job, State

KIND = "mail"
_TRIES = 8


class Kind(StrEnum):
    """What a letter is about; `writer` has a function for each."""

    INVITATION = "invitation"
    SIGN_UP = "sign_up"
    VERIFY = "verify"
    CHANGE_ADDRESS = "change_address"
    ADDRESS_CHANGED = "address_changed"
    RESET = "reset"
    PASSWORD_CHANGED = "password_changed"
    SECOND_FACTOR = "second_factor"
    LINKED = "linked"
    ERASED = "erased"


def post(s: Session, kind: Kind, to: str, *, subject_id: str = "", **facts: str) -> Job:
    """A letter to this address. After the commit give the job to `queues.dispatch`."""
    payload = {"letter": kind, "to": to, "facts": facts}
    about = subject_id or ids.new("ltr")
    return jobs.enqueue(s, KIND, about, max_attempts=_TRIES, payload=payload, priority=urgency.URGENT)


def tell_owner(s: Session, user_id: str, notice: Notice, facts: Mapping[str, str]) -> None:
    """What the owner of an account has to know of it (see `accounts.notices`)."""
    user = users.get(s, user_id)
    if notice == Notice.PASSWORD:
        post(s, Kind.PASSWORD_CHANGED, user.email, subject_id=user.id, name=user.name)
    else:
        post(s, Kind.SECOND_FACTOR, user.email, subject_id=user.id, name=user.name, change=notice, **facts)


def follow(s: Session, job: Job) -> None:
    """A goodbye that could not be sent must not keep the address that was erased (see `jobs.kinds`)."""
    if job.state in (State.FAILED, State.CANCELLED) and job.payload.get("letter") == Kind.ERASED:
        job.payload = {}


def link(config: Config, path: str, secret: str = "") -> str:
    """An address on this server. Never what a request calls us: it would be whoever asks who chooses where a link leads."""
    host = config.server.host if config.server.host not in ("0.0.0.0", "::") else "127.0.0.1"
    base = config.server.public_url.rstrip("/") or f"http://{host}:{config.server.port}"
    return f"{base}/admin/{path}" + (f"?token={secret}" if secret else "")
