"""What lists cost as the library grows: every list of the API at 1,000 and at 100,000 films, on both databases, in one run.

    python -m benchmarks.lists [--films 1000 100000] [--requests 100]

Half as many users as films; each film has an upload, a job, a version with three renditions, a playback id and a playback session, and each
week's worth of events. Milliseconds are the 95th percentile of requests one after the other to the running server, by its administrator; the
ratio is that of the largest library to the smallest, and should be at most 2.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import Connection, insert, update

from streamer import db, ids
from streamer.accounts.tables import User
from streamer.catalog.tables import Asset, PlaybackId, Rendition, Version
from streamer.delivery.tables import PlaybackSession
from streamer.ingest.tables import Upload
from streamer.jobs.tables import Job
from tests.servers import free_port, fresh_database, running_mariadb, short_folder
from tests.whole import Product

AT_ONCE = 2000
WORDS = (
    "the a night river train winter dog moon city road summer glass paper light stone window garden train sea".split()
)
LISTS = (
    "/assets", "/assets?q=winter", "/assets?q=nothing-has-this", "/uploads", "/uploads?state=received", "/jobs", "/jobs?state=failed",
    "/jobs?state=succeeded", "/users", "/events?after=0", "/playback-sessions", "/api-keys", "/webhook-endpoints",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--requests", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, short_folder("my-") as sql, ExitStack() as open_:
        port = free_port()
        open_.enter_context(running_mariadb(sql, port))
        mariadb = {"STREAMER_DATABASE__URL": fresh_database(f"mysql+pymysql://root@127.0.0.1:{port}/")}
        for database, settings in (("sqlite", {}), ("mariadb", mariadb)):
            quiet = {"STREAMER_JOBS__WORKERS": "0", "STREAMER_LOG__LEVEL": "error", **settings}
            with Product(Path(name) / database, **quiet) as product:
                _compare(database, product, asked.films, asked.requests)


def _compare(database: str, product: Product, films: Sequence[int], requests: int) -> None:
    engine = db.create(product.config.database, product.config.database_url)
    found: dict[str, list[float]] = {}
    there = 0
    for count in films:
        _fill(engine, there, count)
        there = count
        for where, took in _measured(product, requests).items():
            found.setdefault(where, []).append(took)
    engine.dispose()
    for where, each in found.items():
        print(
            f"{database:8} {where:36} {'  '.join(f'{ms:7.1f}' for ms in each)} ms   ratio {each[-1] / each[0]:.2f}",
            flush=True,
        )


def _measured(product: Product, requests: int) -> dict[str, float]:
    """Milliseconds of each list's first page, and of one deep in it."""
    found = {}
    with httpx2.Client(
        base_url=f"{product.url}/api/v1", headers={"Authorization": f"Bearer {product.key}"}, timeout=120
    ) as client:
        for where in LISTS:
            found[where] = _p95(client, where, requests)
            if deep := _deep(client, where):
                found[f"{where}, deep"] = _p95(client, deep, requests)
    return found


def _p95(client: httpx2.Client, where: str, requests: int) -> float:
    took = []
    for _ in range(requests):
        since = time.perf_counter()
        client.get(where).raise_for_status()
        took.append(1000 * (time.perf_counter() - since))
        if sum(took) > 20_000:
            break
    return statistics.quantiles(took, n=20)[-1]


def _deep(client: httpx2.Client, where: str) -> str | None:
    """The same list from a cursor near its end: ids grow with time, so an early one is made from the oldest time there is."""
    mark = "&" if "?" in where else "?"
    first = client.get(where).raise_for_status().json()
    cursor = first.get("next_cursor")
    if not isinstance(cursor, str) or "_" not in cursor:
        return None
    return f"{where}{mark}cursor={OLD.get(cursor.partition('_')[0], cursor)}"


OLD: dict[str, str] = {}
"""By prefix, an id a few hundred rows from the first."""


def _fill(engine: Any, there: int, count: int) -> None:
    chance = random.Random(count)
    for first in range(there, count, AT_ONCE):
        with engine.begin() as connection:
            _films(connection, min(AT_ONCE, count - first), chance)


def _films(connection: Connection, count: int, chance: random.Random) -> None:
    now = db.now()
    users = [
        {
            "id": ids.new("usr"),
            "email": f"{ids.new('x')}@example.org",
            "name": _words(chance, 2),
            "password_hash": "-",
            "role": "editor",
            "created_at": now,
        }
        for _ in range((count + 1) // 2)
    ]
    owners = [chance.choice(users)["id"] for _ in range(count)]
    assets = [
        {"id": ids.new("ast"), "owner_id": owner, "title": _words(chance, 4), "created_at": now, "updated_at": now}
        for owner in owners
    ]
    versions = [
        {
            "id": ids.new("ver"), "asset_id": asset["id"], "path": f"{asset['id']}/x", "source_key": f"sources/{asset['id']}", "source_name": "film.mp4", "source_size": 1 << 30,
            "source_sha256": f"{chance.getrandbits(256):064x}", "processing": "ready", "playable": True, "stage": "final", "available_s": 60.0, "duration_s": 60.0, "width": 1920, "height": 1080,
            "created_at": now, "published_at": now,
        } for asset in assets
    ]  # fmt: skip
    names = [
        {"id": ids.new("pbk"), "asset_id": asset["id"], "policy": "private", "created_at": now} for asset in assets
    ]
    rows: list[tuple[Any, list[dict[str, Any]]]] = [
        (User, users), (Asset, assets), (Version, versions), (PlaybackId, names),
        (Rendition, [_rendition(version["id"], kind) for version in versions for kind in ("v1080", "v720", "a128")]),
        (Upload, [
            {"id": ids.new("upl"), "user_id": asset["owner_id"], "asset_id": asset["id"], "filename": "film.mp4", "received": 1 << 30, "state": "received", "source_key": f"sources/{asset['id']}",
             "created_at": now, "updated_at": now} for asset in assets
        ]),
        (Job, [
            {"id": ids.new("job"), "kind": "transcode", "subject_id": version["id"], "owner_id": asset["owner_id"], "payload": {}, "state": "failed" if chance.random() < 0.001 else "succeeded",
             "run_after": now, "created_at": now, "finished_at": now} for asset, version in zip(assets, versions, strict=True)
        ]),
        (PlaybackSession, [
            {"id": ids.new("pbs"), "playback_id": name["id"], "asset_id": asset["id"], "version_id": version["id"], "cap": 9999, "created_at": now, "expires_at": now}
            for name, asset, version in zip(names, assets, versions, strict=True)
        ]),
    ]  # fmt: skip
    for table, values in rows:
        OLD.setdefault(values[0]["id"].partition("_")[0], values[min(len(values) - 1, 400)]["id"])
        connection.execute(insert(table), values)
    for asset, version in zip(assets, versions, strict=True):
        connection.execute(update(Asset).where(Asset.id == asset["id"]).values(live_version_id=version["id"]))


def _rendition(version_id: object, name: str) -> dict[str, Any]:
    kind = "audio" if name.startswith("a") else "video"
    return {
        "id": ids.new("ren"),
        "version_id": version_id,
        "kind": kind,
        "name": name,
        "codecs": "avc1.640028",
        "bandwidth": 5_000_000,
        "average_bandwidth": 4_000_000,
        "size": 1 << 28,
    }


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(count))


if __name__ == "__main__":
    main()
