"""What the scheduler removes when it is old enough, and what it leaves: on both databases, by an index, in many small steps."""

from contextvars import copy_context
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from streamer import db, ids, retention
from streamer.accounts import audit, audit_age, audit_chain, idempotency, login_sessions
from streamer.accounts.tables import AuditEntry, AuditHead, LoginSession, User
from streamer.catalog.tables import PlaybackId, Version
from streamer.delivery import sessions
from streamer.delivery.tables import PlaybackSession
from streamer.ingest import leftovers
from streamer.ingest.tables import Import, Upload, UploadState
from streamer.jobs import scheduler, tidying
from streamer.jobs.tables import Job, State
from streamer.membership import invitations, tickets
from streamer.membership.tables import Invitation
from streamer.services import Services
from tests import library
from tests.streamer.stack import config, database_url, migrated_mariadb, migrated_sqlite, services

__all__ = ["config", "database_url", "migrated_mariadb", "migrated_sqlite", "services"]


def ago(days: float) -> datetime:
    return db.now() - timedelta(days=days)


@pytest.fixture
def owner(services: Services) -> str:
    """Of the few films there are."""
    library.fill(services.engine, 0, 2)
    with db.reading(services) as s:
        return s.scalars(select(User.id).limit(1)).one()


def put(services: Services, *rows: db.Base) -> None:
    for row in rows:  # one after the other: some need those before
        with db.session(services) as s:
            s.add(row)


def left(services: Services, column: Any) -> set[str]:
    """Which of a test's own rows, whose ids are words, are still there."""
    with db.reading(services) as s:
        return {row_id for row_id in s.scalars(select(column)) if not ids.is_id(row_id)}


def test_login_sessions_go_when_they_were_over_long_enough(services: Services, owner: str) -> None:
    def login(name: str, ends: datetime) -> LoginSession:
        return LoginSession(
            id=name, user_id=owner, secret_sha256=name, created_at=ago(200), last_seen_at=ago(200), expires_at=ends,
            user_agent="a browser", address="203.0.113.7",
        )  # fmt: skip

    put(services, login("old", ago(91)), login("ended", ago(89)), login("live", ago(-1)))
    assert login_sessions.purge(services) == 1
    assert left(services, LoginSession.id) == {"ended", "live"}


def test_what_was_played_long_ago_is_forgotten(services: Services, owner: str) -> None:
    with db.reading(services) as s:
        playback = s.scalars(select(PlaybackId).limit(1)).one()
        version = library_version(s, playback.asset_id)

    def played(name: str, ends: datetime) -> PlaybackSession:
        return PlaybackSession(
            id=name, playback_id=playback.id, asset_id=playback.asset_id, version_id=version, user_id=owner,
            cap=1080, created_at=ago(500), expires_at=ends,
        )  # fmt: skip

    put(services, played("old", ago(366)), played("young", ago(364)))
    assert sessions.purge(services) == 1
    assert left(services, PlaybackSession.id) == {"young"}


def test_jobs_go_with_their_steps_but_for_encodes_that_can_be_retried(services: Services) -> None:
    def job(name: str, state: State, finished: datetime | None, kind: str = "mail", **more: Any) -> Job:
        return Job(id=name, kind=kind, subject_id="x", state=state, run_after=ago(100), created_at=ago(100), finished_at=finished, **more)  # fmt: skip

    put(
        services,
        job("done", State.SUCCEEDED, ago(91)),
        job("unsent", State.FAILED, ago(91), payload={"to": "somebody@example.org"}),
        job("step", State.SUCCEEDED, ago(92), parent_id="unsent", step="one"),
        job("film", State.FAILED, ago(91), "transcode"),
        job("part", State.SUCCEEDED, ago(91), "encode", parent_id="film", step="one"),
        job("encoded", State.SUCCEEDED, ago(91), "transcode"),
        job("young", State.SUCCEEDED, ago(89)),
        job("waits", State.QUEUED, None),
    )
    assert tidying.purge(services) == 3
    assert left(services, Job.id) == {"film", "part", "young", "waits"}


def test_uploads_that_never_became_a_film_go(services: Services, owner: str) -> None:
    def upload(name: str, state: UploadState, at: datetime) -> Upload:
        return Upload(id=name, user_id=owner, filename="private.mov", state=state, source_key=name, created_at=at, updated_at=at)  # fmt: skip

    put(
        services,
        upload("old", UploadState.FAILED, ago(91)),
        Import(id="old", url="https://example.org/private.mov"),
        upload("young", UploadState.FAILED, ago(89)),
        upload("film", UploadState.RECEIVED, ago(91)),
    )
    assert leftovers.purge(services) == 1
    assert left(services, Upload.id) == {"young", "film"} and left(services, Import.id) == set()


def test_whom_an_old_invitation_was_for_is_erased_from_the_audit_log_too(services: Services) -> None:
    with db.session(services) as s:
        old, accepted, young = (
            invitations._made(s, services, f"{name}@example.org", "viewer", None, None).id
            for name in ("old", "accepted", "young")
        )
        s.get_one(Invitation, old).expires_at = s.get_one(Invitation, accepted).expires_at = ago(91)
        s.get_one(Invitation, accepted).accepted_at = ago(92)
    assert invitations.purge(services) == 1
    with db.reading(services) as s:
        assert set(s.scalars(select(Invitation.id))) == {accepted, young}
    text = repr([entry.personal for entry in audit_chain.walk(services)])
    assert "old@example.org" not in text and "young@example.org" in text
    audit_chain.verify(services)


def test_addresses_in_the_audit_log_are_forgotten_by_age_and_the_chain_holds(services: Services) -> None:
    write_audit(services, 5)
    backdate(services, 3)
    assert audit_age.sweep(services) == 3
    assert audit_age.sweep(services) == 0, "and leaves no entry when there is nothing to do"
    entries = list(audit_chain.walk(services))
    assert [entry.action for entry in entries[5:]] == ["audit.forget"] and entries[5].after == {"until": 3}
    assert [(entry.personal or {})["address"] is None for entry in entries[:5]] == [True] * 3 + [False] * 2
    audit_chain.verify(services)


def test_an_address_that_somebody_took_out_by_hand_shows(services: Services) -> None:
    write_audit(services, 5)
    backdate(services, 3)
    audit_age.sweep(services)
    with db.session(services) as s:
        s.scalars(select(AuditEntry).where(AuditEntry.sequence == 4)).one().personal = {"address": None}
    with pytest.raises(audit_chain.Broken, match="Entry 4 lost personal values"):
        audit_chain.verify(services)


def test_a_sweep_takes_some_and_the_next_one_the_rest(
    services: Services, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST", 2)
    rows = [
        LoginSession(
            id=f"s{number}", user_id=owner, secret_sha256=f"s{number}", created_at=ago(200), last_seen_at=ago(200),
            expires_at=ago(100 + number), user_agent="", address="",
        )
        for number in range(3)
    ]  # fmt: skip
    put(services, *rows)
    assert login_sessions.purge(services) == 2 and left(services, LoginSession.id) == {"s0"}, "the oldest first"
    assert login_sessions.purge(services) == 1


def test_all_of_it_is_done_by_the_scheduler() -> None:
    assert set(CHORES) <= {scheduler._load(path) for path in scheduler.CHORES}


CHORES = (
    login_sessions.purge,
    sessions.purge,
    tidying.purge,
    leftovers.purge,
    invitations.purge,
    tickets.purge,
    idempotency.purge,
    audit_age.sweep,
)


def test_what_is_old_is_looked_for_by_an_index_and_without_sorting(services: Services) -> None:
    library.fill(services.engine, 0, 300)
    asked: list[tuple[str, Any]] = []
    event.listen(services.engine, "before_cursor_execute", lambda *told: asked.append(told[2:4]))
    for chore in CHORES:
        chore(services)
    is_sqlite = services.engine.dialect.name == "sqlite"
    with services.engine.connect() as connection:
        cursor = connection.connection.cursor()
        for statement, parameters in [one for one in asked if one[0].startswith("SELECT")]:
            cursor.execute(f"EXPLAIN {'QUERY PLAN ' if is_sqlite else ''}{statement}", parameters)
            for plan in cursor.fetchall():
                by_index = "SEARCH" in plan[3] if is_sqlite else plan[3] in ("range", "ref", "const")
                assert by_index and "filesort" not in str(plan) and "TEMP B-TREE" not in str(plan), (statement, plan)


def library_version(s: Session, asset_id: str) -> str:
    return s.scalars(select(Version.id).where(Version.asset_id == asset_id).limit(1)).one()


def write_audit(services: Services, count: int) -> None:
    """So many entries, each with an address."""

    def write() -> None:
        audit.acting(audit.Actor("visitor", address="203.0.113.7"))
        for _ in range(count):
            with db.session(services) as s:
                audit.record(s, "session.refuse", audit.UNKNOWN, after={"reason": "wrong_password"})

    copy_context().run(write)


def backdate(services: Services, count: int) -> None:
    """Make the first entries old, in a chain that holds."""
    with db.session(services) as s:
        chained = audit_chain.START
        for entry in audit_chain.after(s, 0):
            if entry.sequence <= count:
                entry.at = ago(400)
            entry.hash = chained = audit.hash_of(chained, entry)
        s.scalars(select(AuditHead)).one().hash = chained
