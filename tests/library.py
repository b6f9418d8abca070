"""A library of any size, written straight into the tables: what lists, backups and migrations are tried on.

    fill(engine, 0, 1000); fill(engine, 1000, 100_000)     # a thousand films, then ninety-nine thousand more

Half as many people as films; each film has an upload, an encode with two steps, a version with three renditions, a playback id, a playback session, an event and its
delivery to the one webhook endpoint, and an audit line. Every tenth film is the HOARDER's; all are in the one COLLECTION, and for each tenth there is an empty one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, text, update

from streamer import db, ids, words
from streamer.accounts.tables import AuditEntry, AuditHead, User
from streamer.catalog.collection_tables import Collection, CollectionFilm, Grant
from streamer.catalog.tables import Asset, PlaybackId, Rendition, TitleWord, Version
from streamer.delivery.tables import PlaybackSession
from streamer.events.tables import Event, EventHead
from streamer.ingest.tables import Upload
from streamer.jobs.tables import Job
from streamer.webhooks.tables import Delivery, Endpoint

HOARDER, ENDPOINT = "usr_" + "hoarder".zfill(20), "whe_" + "endpoint".zfill(20)
COLLECTION = "col_" + "all".rjust(20, "z")  # so it is the newest
AT_ONCE = 2000
FAILED = 0.02
WORDS = (
    "the a night river train winter dog moon city road summer glass paper light stone window garden train sea".split()
)

Rows = list[dict[str, Any]]


def fill(engine: Engine, there: int, count: int) -> None:
    """Bring a library of `there` films to `count`, and let the database know how its tables look now."""
    if there == 0:
        with engine.begin() as connection:
            _first(connection)
    for first in range(there, count, AT_ONCE):
        with engine.begin() as connection:
            _films(connection, first, min(AT_ONCE, count - first))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        tables = ", ".join(sorted(db.Base.metadata.tables))
        connection.execute(text("ANALYZE" if engine.dialect.name == "sqlite" else f"ANALYZE TABLE {tables}"))


def _first(connection: Connection) -> None:
    now = db.now()
    connection.execute(insert(User), [_person(HOARDER)])
    endpoint = {"id": ENDPOINT, "url": "https://example.org/hook", "description": "", "types": ["*"], "secret": "-"}
    connection.execute(insert(Endpoint), [{**endpoint, "created_at": now, "disabled_at": now}])
    connection.execute(insert(Collection), [_collection(COLLECTION, HOARDER)])
    connection.execute(insert(Grant), [_grant(COLLECTION, "role:viewer")])


def _films(connection: Connection, first: int, count: int) -> None:
    """Rows as the product writes them, in the order in which they depend on each other."""
    chance, now = random.Random(first), db.now()
    people = [_person(ids.new("usr")) for _ in range((count + 1) // 2)]
    assets: Rows = [
        {
            "id": ids.new("ast"), "owner_id": chance.choice(people)["id"] if number % 10 else HOARDER, "title": " ".join(chance.choices(WORDS, k=4)),
            "created_at": now, "updated_at": now,
        } for number in range(count)
    ]  # fmt: skip
    versions = [_version(asset) for asset in assets]
    connection.execute(insert(User), people)
    connection.execute(insert(Asset), assets)
    connection.execute(insert(Version), versions)
    for table, rows in _belongings(assets, versions, chance):
        connection.execute(insert(table), rows)
    _happenings(connection, assets)
    _collections(connection, assets, first)
    for asset, version in zip(assets, versions, strict=True):
        connection.execute(update(Asset).where(Asset.id == asset["id"]).values(live_version_id=version["id"]))


def _happenings(connection: Connection, assets: Rows) -> None:
    """Events and audit lines, numbered on from those that are there."""
    events = [_event(asset, number) for number, asset in enumerate(assets, _next(connection, EventHead))]
    connection.execute(insert(Event), events)
    connection.execute(insert(Delivery), [_delivery(event) for event in events])
    lines = [_audit(asset, number) for number, asset in enumerate(assets, _next(connection, AuditHead))]
    connection.execute(insert(AuditEntry), lines)
    for head in (EventHead, AuditHead):
        connection.execute(update(head).values(sequence=head.sequence + len(assets)))


def _collections(connection: Connection, assets: Rows, first: int) -> None:
    films = [
        {
            "collection_id": COLLECTION,
            "asset_id": asset["id"],
            "place": place,
            "added_by": HOARDER,
            "added_at": db.now(),
        }
        for place, asset in enumerate(assets, first + 1)
    ]
    empty = [_collection(ids.new("col"), asset["owner_id"]) for asset in assets[::10]]
    granted = [_grant(one["id"], grantee) for one in empty for grantee in (one["owner_id"], "role:viewer")]
    for table, rows in ((CollectionFilm, films), (Collection, empty), (Grant, granted)):
        connection.execute(insert(table), rows)


def _grant(collection_id: str, grantee: str) -> dict[str, Any]:
    return {
        "id": ids.new("cgr"), "collection_id": collection_id, "grantee": grantee, "level": 1, "created_at": db.now(),
    }  # fmt: skip


def _collection(collection_id: str, owner_id: str) -> dict[str, Any]:
    now = db.now()
    return {
        "id": collection_id, "owner_id": owner_id, "name": "Films", "description": "", "created_at": now, "updated_at": now,
    }  # fmt: skip


def _next(connection: Connection, head: type[EventHead] | type[AuditHead]) -> int:
    return connection.execute(select(head.sequence)).scalar_one() + 1


def _belongings(assets: Rows, versions: Rows, chance: random.Random) -> Iterator[tuple[Any, Rows]]:
    now = db.now()
    both = list(zip(assets, versions, strict=True))
    yield (
        TitleWord,
        [
            {"word": word, "asset_id": a["id"], "owner_id": a["owner_id"]}
            for a in assets
            for word in words.beginnings(a["title"])
        ],
    )
    yield Rendition, [_rendition(version["id"], name) for version in versions for name in ("v1080", "v720", "a128")]
    names: Rows = [{"id": ids.new("plb"), "asset_id": a["id"], "policy": "public", "created_at": now} for a in assets]
    yield PlaybackId, names
    yield Upload, [_upload(asset, "failed" if chance.random() < FAILED else "received") for asset in assets]
    jobs = [_job(a, v, "failed" if chance.random() < FAILED else "succeeded") for a, v in both]
    yield Job, jobs
    yield Job, [_step(job, name) for job in jobs for name in ("probe", "audio")]
    yield PlaybackSession, [_session(name, version) for name, version in zip(names, versions, strict=True)]


def _person(user_id: str) -> dict[str, Any]:
    return {
        "id": user_id, "email": f"{user_id}@example.org", "name": f"Person {user_id[-4:]}", "password_hash": "-", "role": "editor", "created_at": db.now(),
    }  # fmt: skip


def _version(asset: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.new("ver"), "asset_id": asset["id"], "path": f"{asset['id']}/x", "source_key": f"sources/{asset['id']}", "source_name": "film.mp4", "source_size": 1 << 30,
        "source_sha256": asset["id"].ljust(64, "0"), "processing": "ready", "playable": True, "stage": "final", "available_s": 60.0, "duration_s": 60.0, "width": 1920, "height": 1080,
        "report": {"decisions": []}, "poster": True, "created_by": asset["owner_id"], "created_at": db.now(), "published_at": db.now(),
    }  # fmt: skip


def _rendition(version_id: object, name: str) -> dict[str, Any]:
    return {
        "id": ids.new("rnd"), "version_id": version_id, "kind": "audio" if name.startswith("a") else "video", "name": name, "codecs": "avc1.640028", "bandwidth": 5_000_000,
        "average_bandwidth": 4_000_000, "size": 1 << 28,
    }  # fmt: skip


def _upload(asset: dict[str, Any], state: str) -> dict[str, Any]:
    return {
        "id": ids.new("upl"), "user_id": asset["owner_id"], "asset_id": asset["id"], "filename": "film.mp4", "received": 1 << 30, "state": state, "source_key": f"sources/{asset['id']}",
        "created_at": db.now(), "updated_at": db.now(),
    }  # fmt: skip


def _job(asset: dict[str, Any], version: dict[str, Any], state: str) -> dict[str, Any]:
    return {
        "id": ids.new("job"), "kind": "transcode", "subject_id": version["id"], "owner_id": asset["owner_id"], "payload": {}, "state": state, "run_after": db.now(),
        "created_at": db.now(), "finished_at": db.now(),
    }  # fmt: skip


def _step(job: dict[str, Any], name: str) -> dict[str, Any]:
    return {**job, "id": ids.new("job"), "kind": "step", "parent_id": job["id"], "step": name}


def _session(name: dict[str, Any], version: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.new("pbs"), "playback_id": name["id"], "asset_id": name["asset_id"], "version_id": version["id"], "cap": 9999, "created_at": db.now(), "expires_at": db.now(),
    }  # fmt: skip


def _event(asset: dict[str, Any], sequence: int) -> dict[str, Any]:
    kind = "asset.errored" if sequence % 50 == 0 else "asset.ready"
    return {
        "id": ids.new("evt"), "type": kind, "subject_id": asset["id"], "data": {"id": asset["id"]}, "sequence": sequence, "created_at": db.now(),
    }  # fmt: skip


def _delivery(event: dict[str, Any]) -> dict[str, Any]:
    state = "dead" if event["sequence"] % 50 == 1 else "delivered"
    return {
        "id": ids.new("whd"), "endpoint_id": ENDPOINT, "event_id": event["id"], "state": state, "attempts": 1, "due_at": db.now(), "created_at": db.now(),
    }  # fmt: skip


def _audit(asset: dict[str, Any], sequence: int) -> dict[str, Any]:
    return {
        "sequence": sequence, "id": ids.new("aud"), "at": db.now(), "way": "session", "user_id": asset["owner_id"], "action": "asset.create", "subject_id": asset["id"], "hash": "0" * 64,
    }  # fmt: skip
