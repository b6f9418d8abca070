"""Playback sessions: opened by a press of play, kept alive by heartbeats, renewed before their token ends.

SQL has one row per session, Redis whether it is being watched. Whoever knows a session's id may send its heartbeats and end it, as whoever
has its address may play it; a new token, though, is given only after deciding again whether the one who asks may play, so a leaked address
is good until it expires and no longer. Heartbeats that find their session in Redis touch nothing else, unless the film is still being made:
then they also ask SQL how far it has come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import redis
import structlog
from redis.exceptions import RedisError
from sqlalchemy import update
from sqlalchemy.orm import Session

from streamer import db, ids, retention
from streamer.accounts import audit
from streamer.accounts.logins import Principal
from streamer.catalog import versions, viewers
from streamer.catalog.tables import Asset, PlaybackId, Processing, Stage, Version
from streamer.config import Delivery
from streamer.delivery import decisions, presence
from streamer.delivery.policies import Verdict
from streamer.delivery.tables import PlaybackSession
from streamer.errors import Conflict, Forbidden, NotFound, Problem, Unauthenticated
from streamer.jobs import jobs, progress
from streamer.services import Services

_RENEW_S = 1800

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What it takes to sign an address: `path` is `<asset>/<version>`, `exp` a Unix second, `cap` pixels.

    `stage` is the best there is, with `available_s` of `duration_s` seconds to watch, and None when the film's making ended without it.
    """

    sid: str
    path: str
    exp: int
    cap: int
    poster: bool
    stage: Stage | None
    available_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Beat:
    """`alive` is False when the session was ended; `exp` is when its newest token ends."""

    alive: bool
    exp: int = 0


class NotPlayable(Conflict):
    """The film exists and may be watched, but there is nothing to play yet."""

    default_code, title = "not_playable", "The film cannot be played yet"


def open_session(services: Services, principal: Principal | None, playback_id: str) -> Ticket:
    """Decide, record and announce a session. Raises NotFound, Unauthenticated, Forbidden or NotPlayable. Blocks."""
    ticket, row = db.retrying(services, lambda s: _open(services, s, principal, playback_id))
    _announce(services, row, ticket.path)
    _note_viewer(services, row.asset_id, ticket)
    return ticket


async def beat(services: Services, sid: str, position: Mapping[str, str | float]) -> Beat | None:
    """Note a heartbeat in Redis; None when Redis does not know the session or does not answer, and `recover` must say."""
    fields = presence.flat({**position, "seen_at": int(time.time())})
    idle_s = services.config.delivery.session_idle_s
    try:
        known, exp = await services.kv.eval(presence.BEAT, 2, *presence.keys(sid), idle_s, *fields)
    except (RedisError, OSError):
        return None
    if known == 0:
        return Beat(alive=False)
    return Beat(alive=True, exp=int(exp)) if known == 1 and exp else None


def recover(services: Services, sid: str) -> Beat:
    """The same from SQL, and back into Redis. NotFound for a session that never was. Blocks."""
    with db.reading(services) as s:
        row, version = _found(s, sid)
    alive = row.killed_at is None and row.ended_at is None
    if alive:
        _announce(services, row, version.path or "")
    return Beat(alive, int(row.expires_at.timestamp()))


def look(services: Services, sid: str) -> Ticket:
    """The session's ticket as it is, with what there is to watch by now. NotFound for a session that never was. Blocks."""
    with db.reading(services) as s:
        row, version = _found(s, sid)
        ticket = _ticket(row, version)
    _note_viewer(services, row.asset_id, ticket)
    return ticket


def renew(services: Services, sid: str, principal: Principal | None) -> Ticket | None:
    """A ticket with a new end for the same version, if whoever asks may still play; None if not. Blocks."""
    try:
        ticket, row = db.retrying(services, lambda s: _renew(services, s, sid, principal))
    except (NotFound, Unauthenticated, Forbidden) as refusal:
        log.info("playback session not renewed", session=sid, reason=refusal.code)
        return None
    _announce(services, row, ticket.path)
    return ticket


def end(services: Services, sid: str) -> None:
    """The viewer stopped. Its address stays good until it expires: someone may come back to it."""
    _mark(services, sid, "ended_at")
    _tell_redis(services, lambda kv: kv.delete(presence.keys(sid)[0]))


def kill(services: Services, sid: str) -> None:
    """End it for good: refused at the next entry, everywhere within the refresh of the mirror (`kills.py`)."""
    _mark(services, sid, "killed_at", told="playback_session.kill")
    live, killed = presence.keys(sid)
    keep_s = services.config.delivery.token_max_s + services.config.delivery.token_skew_s
    _tell_redis(services, lambda kv: (kv.set(killed, "1", ex=keep_s), kv.delete(live)))


def kill_all(s: Session, asset_id: str) -> None:
    """End every session of an asset, in the transaction that deletes it (`catalog.assets.AFTER_DELETE`)."""
    now = db.now()
    alive = PlaybackSession.asset_id == asset_id, PlaybackSession.killed_at.is_(None), PlaybackSession.expires_at > now
    s.execute(update(PlaybackSession).where(*alive).values(killed_at=now).execution_options(synchronize_session=False))


def purge(services: Services) -> int:
    """A chore: forget who played what long ago; how many sessions that were."""
    until = retention.before(services.config.retention.playback_days)
    return retention.purge(services, PlaybackSession.id, PlaybackSession.expires_at, until)


def find(s: Session, sid: str) -> PlaybackSession:
    """The row, or NotFound."""
    row = s.get(PlaybackSession, sid) if ids.is_id(sid) else None
    if row is None:
        raise NotFound("There is no such playback session.")
    return row


def renew_before_s(config: Delivery) -> int:
    """How long before its token ends a session gets a new one, in seconds."""
    return min(_RENEW_S, config.token_extra_s // 2, config.token_max_s // 2)


def _open(
    services: Services, s: Session, principal: Principal | None, playback_id: str
) -> tuple[Ticket, PlaybackSession]:
    playback = s.get(PlaybackId, playback_id) if ids.is_id(playback_id) else None
    asset = s.get(Asset, playback.asset_id) if playback else None
    if playback is None or asset is None:
        raise _missing()
    cap = _decided(services, s, playback, asset, principal)
    version = s.get(Version, asset.live_version_id) if asset.live_version_id else None
    if version is None or version.path is None or not _plays(version, cap):
        raise NotPlayable(_why_not(services, s, asset))
    now = db.now()
    row = PlaybackSession(
        id=ids.new("pbs"),
        playback_id=playback.id,
        asset_id=asset.id,
        version_id=version.id,
        user_id=principal.user_id if principal else None,
        cap=cap,
        created_at=now,
        expires_at=_end(services.config.delivery, now, version),
    )
    s.add(row)
    return _ticket(row, version), row


def _plays(version: Version, cap: int) -> bool:
    """The first stage has one rung only, which may be above the cap."""
    return version.playable and (version.stage != Stage.START or min(version.width or 0, version.height or 0) <= cap)


def _renew(services: Services, s: Session, sid: str, principal: Principal | None) -> tuple[Ticket, PlaybackSession]:
    row, version = _found(s, sid)
    playback, asset = s.get_one(PlaybackId, row.playback_id), s.get_one(Asset, row.asset_id)
    if row.killed_at or row.ended_at or (row.user_id and (principal is None or principal.user_id != row.user_id)):
        raise _missing()
    if version.deleted_at is not None:
        raise NotFound("This version of the film was deleted; its files stay only as long as addresses given before.")
    row.cap = _decided(services, s, playback, asset, principal)
    row.expires_at = _end(services.config.delivery, db.now(), version)
    return _ticket(row, version), row


def _decided(services: Services, s: Session, playback: PlaybackId, asset: Asset, principal: Principal | None) -> int:
    decision = decisions.decide(s, services.config.delivery, playback, asset, principal)
    if decision.verdict is not Verdict.PLAY:
        log.info("playback refused", playback_id=playback.id, verdict=decision.verdict, trace=decision.trace)
        raise _refusal(decision.verdict)
    return decision.cap


def _refusal(verdict: Verdict) -> Problem:
    if verdict is Verdict.SIGN_IN:
        return Unauthenticated("This film is private. Sign in to watch it.")
    if verdict is Verdict.FORBIDDEN:
        return Forbidden(
            "This film is private, and not for what you are signed in by. Its owner or an administrator can let you watch it."
        )
    return _missing()


def _missing() -> NotFound:
    return NotFound("There is no film under this playback id.")


def _found(s: Session, sid: str) -> tuple[PlaybackSession, Version]:
    row = find(s, sid)
    return row, s.get_one(Version, row.version_id)


def _end(config: Delivery, now: datetime, version: Version) -> datetime:
    """Duration and some hours, so that pausing for dinner costs nobody the end of the film; a whole second, as in the token."""
    life_s = min(int(version.duration_s or 0) + config.token_extra_s, config.token_max_s)
    return datetime.fromtimestamp(int(now.timestamp()) + life_s, UTC)


def _ticket(row: PlaybackSession, version: Version) -> Ticket:
    return Ticket(
        sid=row.id,
        path=version.path or "",
        exp=int(row.expires_at.timestamp()),
        cap=row.cap,
        poster=version.poster,
        stage=Stage(version.stage or Stage.FINAL) if version.playable else None,
        available_s=version.available_s or version.duration_s or 0.0,
        duration_s=version.duration_s or 0.0,
    )


def _why_not(services: Services, s: Session, asset: Asset) -> str:
    newest = versions.newest(s, [asset.id]).get(asset.id)
    if newest is None or newest.processing == Processing.CANCELLED:
        return "Its making was cancelled."
    if newest.processing == Processing.ERRORED:
        return "Its making failed."
    job = jobs.latest_of(s, [newest.id]).get(newest.id)
    now = progress.read(services.kv_sync, [job.id]).get(job.id) if job else None
    return f"It is being made: {now.stage}, {now.percent:.0f} %." if now else f"It is being made: {newest.processing}."


def _mark(services: Services, sid: str, column: str, *, told: str = "") -> None:
    """Write the time once; the first end is the one that counts. `told` is what the audit log calls it."""
    field = getattr(PlaybackSession, column)
    change = update(PlaybackSession).where(PlaybackSession.id == sid, field.is_(None)).values({column: db.now()})

    def write(s: Session) -> None:
        row = find(s, sid)
        s.execute(change)
        if told:
            audit.record(s, told, sid, before={"asset_id": row.asset_id, "user_id": row.user_id})

    db.retrying(services, write)


def _announce(services: Services, row: PlaybackSession, path: str) -> None:
    facts = presence.flat(
        {
            "path": path,
            "cap": row.cap,
            "exp": int(row.expires_at.timestamp()),
            "playback_id": row.playback_id,
            "user_id": row.user_id or "",
            "seen_at": int(time.time()),
        }
    )
    idle_s = services.config.delivery.session_idle_s
    _tell_redis(services, lambda kv: kv.eval(presence.OPEN, 2, *presence.keys(row.id), idle_s, *facts))


def _note_viewer(services: Services, asset_id: str, ticket: Ticket) -> None:
    if ticket.stage in (Stage.START, Stage.GROW):
        _tell_redis(services, lambda kv: viewers.note(kv, asset_id))


def _tell_redis(services: Services, tell: Callable[[redis.Redis], object]) -> None:
    """Redis only observes: without it a session is open all the same."""
    try:
        tell(services.kv_sync)
    except (RedisError, OSError) as error:
        log.warning("playback session not in Redis", error=str(error))
