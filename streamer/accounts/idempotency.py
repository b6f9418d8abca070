"""`Idempotency-Key`: a request that is sent again because its answer got lost is done once, and answered as it was.

    once(request, user_id, body, act) -> Response      # act() runs the endpoint; in a thread

A key belongs to an account and to one request: method, address, query and body. For a day the same request under it gets the first answer
(`Idempotency-Replayed: true`), another one 422, and one that comes while the first is being done 409. Refusals are not kept: nothing was done, so the
request may be sent again. All of it is a row in SQL; answers are sealed, for some hold secrets that are shown once.

Whether something was done is written in the very transaction that does it (`db.beside`). So a request whose process died is done again only if it
was not done; if it was and nobody was told, that is said (`AnswerLost`). And a process that was thought dead can't do it a second time: the same
statement finds that the row is somebody else's by then, and takes the change back.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import ColumnElement, CursorResult, delete, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from streamer import db, http, ids, retention, sealing
from streamer.accounts.tables import IdempotencyKey
from streamer.errors import Conflict, Invalid, Problem
from streamer.services import Services

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT = timedelta(hours=24)
HELD = timedelta(seconds=60)
"""How long a request may take before its process is thought dead."""

_KEY = re.compile("[!-~]{1,255}")
_PURPOSE = "idempotency"
_LONGEST = 60_000  # what the column holds

log = structlog.get_logger(__name__)


class KeyReused(Problem):
    """The key belongs to another request."""

    status, default_code, title = 422, "idempotency_key_reused", "This Idempotency-Key belongs to another request"


class InFlight(Conflict):
    """The first request under this key is not over."""

    default_code, title = "idempotency_in_flight", "The same request is being done"

    def __init__(self) -> None:
        super().__init__("Wait a second, then send it again: you will get its answer.", headers={"Retry-After": "1"})


class AnswerLost(Conflict):
    """It was done, and nobody knows the answer any more."""

    default_code, title = "idempotency_answer_lost", "This was done, but its answer was lost"

    def __init__(self) -> None:
        super().__init__("Look for what it made before you send it again under another key.")


class NotForFiles(Problem):
    """The body is a film, which is read once and not compared."""

    status, default_code, title = 422, "idempotency_key_for_file", "Files are not sent under an Idempotency-Key"

    def __init__(self) -> None:
        super().__init__(
            "Leave the header out, or upload with tus: it goes on where it broke off, and nothing arrives twice."
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do it, for the one whose `holder` stands in the row."""

    row_id: str
    holder: str


def once(request: Request, user_id: str, body: bytes, act: Callable[[], Response]) -> Response:
    """`act()`, or its first answer. Without the header: just `act()`."""
    key = request.headers.get(HEADER)
    if key is None:
        return act()
    if not _KEY.fullmatch(key):
        raise Invalid(f"{HEADER} has 1 to 255 ASCII characters without spaces, such as a UUID.", code="idempotency_key")
    services, print_of_it = http.services(request), _fingerprint(request, body)
    claim = db.retrying(services, lambda s: _claim(s, user_id, key, print_of_it))
    if isinstance(claim, IdempotencyKey):
        return _replayed(services, claim)
    try:
        with _marking(claim):
            answer = act()
    except BaseException:
        _release(services, claim)
        raise
    _keep(services, claim, answer)
    return answer


def refuse(request: Request) -> None:
    """For a request that nobody could repeat: NotForFiles when it has the header all the same, rather than a promise that is not kept."""
    if HEADER in request.headers:
        raise NotForFiles()


def purge(services: Services) -> int:
    """A chore: remove what is older than a day; how many that were."""
    return retention.purge(services, IdempotencyKey.id, IdempotencyKey.expires_at, db.now())


def _claim(s: Session, user_id: str, key: str, print_of_it: str) -> Claim | IdempotencyKey:
    """The right to do it, or the row of it done."""
    digest, now = hashlib.sha256(key.encode()).hexdigest(), db.now()
    mine = IdempotencyKey.user_id == user_id, IdempotencyKey.key_sha256 == digest
    row = s.scalars(select(IdempotencyKey).where(*mine).with_for_update()).one_or_none()
    if row is not None and row.expires_at <= now:
        s.delete(row)
        s.flush()
        row = None
    if row is None:
        return _first(s, IdempotencyKey(user_id=user_id, key_sha256=digest, fingerprint=print_of_it))
    if row.fingerprint != print_of_it:
        raise KeyReused("Send each request under a key of its own, and the same request again under the same key.")
    if row.status is not None:
        return row
    if row.held_until > now:
        raise InFlight
    if row.acted_at is not None:
        raise AnswerLost
    row.holder, row.held_until = ids.new("hld"), now + HELD
    return Claim(row.id, row.holder)


def _first(s: Session, row: IdempotencyKey) -> Claim:
    now = db.now()
    row.id, row.holder = ids.new("idm"), ids.new("hld")
    row.created_at, row.held_until, row.expires_at = now, now + HELD, now + KEPT
    try:
        with s.begin_nested():
            s.add(row)
            s.flush()
    except IntegrityError:  # the same request came at the same moment
        raise InFlight from None
    return Claim(row.id, row.holder)


@contextmanager
def _marking(claim: Claim) -> Iterator[None]:
    """Each transaction of this request says in the row that something was done, or is taken back."""

    def mark(s: Session) -> None:
        result = s.execute(update(IdempotencyKey).where(*_of(claim)).values(acted_at=db.now()))
        assert isinstance(result, CursorResult)
        if result.rowcount != 1:
            raise InFlight

    token = db.beside.set(mark)
    try:
        yield
    finally:
        db.beside.reset(token)


def _release(services: Services, claim: Claim) -> None:
    """It was refused. What was done all the same stays known."""
    undone = (*_of(claim), IdempotencyKey.acted_at.is_(None))
    try:
        db.retrying(services, lambda s: s.execute(delete(IdempotencyKey).where(*undone)))
    except SQLAlchemyError as error:
        log.warning("idempotency key not released", key=claim.row_id, error=str(error))


def _keep(services: Services, claim: Claim, answer: Response) -> None:
    """The answer for who asks again. If it can't be kept, who asked has it anyway."""
    sealed = sealing.seal(services.secrets, _PURPOSE, claim.row_id, bytes(answer.body).decode())
    if len(sealed) > _LONGEST:
        log.warning("answer too long to be kept", key=claim.row_id)
        return
    told = {"status": answer.status_code, "location": answer.headers.get("location"), "answer": sealed}
    try:
        db.retrying(services, lambda s: s.execute(update(IdempotencyKey).where(*_of(claim)).values(**told)))
    except SQLAlchemyError as error:
        log.warning("answer not kept", key=claim.row_id, error=str(error))


def _replayed(services: Services, row: IdempotencyKey) -> Response:
    try:
        body = sealing.unseal(services.secrets, _PURPOSE, row.id, row.answer or "")
    except sealing.Unreadable:
        raise AnswerLost from None
    headers = {REPLAYED: "true", "Cache-Control": "no-store"}
    if row.location:
        headers["Location"] = row.location
    return Response(body, row.status or 200, headers, media_type="application/json" if body else None)


def _of(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return IdempotencyKey.id == claim.row_id, IdempotencyKey.holder == claim.holder


def _fingerprint(request: Request, body: bytes) -> str:
    said = f"{request.method}\n{request.url.path}\n{request.url.query}\n".encode()
    return hashlib.sha256(said + body).hexdigest()
