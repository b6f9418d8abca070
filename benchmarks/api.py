"""What the cache, eager loading and the pool of connections save: the same endpoints with and without them, in one run.

    python -m benchmarks.api [--films 1000] [--seconds 3] [--rounds 3] [--database mariadb|sqlite]

Both servers are the whole application on the first core, over the same library (`tests/library.py`); the load, MariaDB and Valkey have the second. Ours is as
delivered. The other has no cache, opens a connection for each transaction, and asks the database for what belongs to a film film by film, as lazy
loading does. All the while somebody changes a film once a second. For each endpoint: median milliseconds with one request at a time, and
requests per second with as many at once (1 to 64) as can be had with nine of ten answered in 250 ms: that many people could ask once a second.
Ratios are medians over rounds of ours to the other's.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session

from benchmarks.origin import _listens, _program, _running
from streamer import db, mariadb, migrations
from streamer.accounts import apikeys, users
from streamer.app import create_app
from streamer.catalog import documents, playback_ids
from streamer.catalog.documents import AssetDocument
from streamer.catalog.tables import Asset, PlaybackId
from streamer.config import Config
from streamer.services import Services, close_services, open_services
from tests import library
from tests.servers import (
    die_with_parent,
    free_port,
    fresh_database,
    running_mariadb,
    running_valkey,
    short_folder,
    valkey_url,
)

CORES = sorted(os.sched_getaffinity(0))
SERVER, LOAD = {CORES[0]}, {CORES[-1]}
AT_ONCE = (1, 2, 4, 8, 16, 32, 64)
PATIENCE_MS = 250.0


@dataclass(frozen=True)
class Point:
    """One load: requests per second, and milliseconds within which half and nine of ten had their answer."""

    per_s: float
    p50_ms: float
    p90_ms: float


@dataclass(frozen=True)
class Found:
    """An endpoint of one server: milliseconds of one request alone, and the people it can serve."""

    alone_ms: float
    people: float


def main() -> None:
    asked = _options()
    if asked.serve:
        return serve(asked.serve, Path(asked.folder), asked.port)
    _program("wrk")
    with tempfile.TemporaryDirectory() as name, ExitStack() as open_:
        folder = Path(name)
        os.sched_setaffinity(0, LOAD)  # and with us all that we start, but the servers
        environment = open_.enter_context(_stores(folder, asked.database))
        os.environ.update(environment)
        key, paths = _library(folder, asked.films)
        ports = {kind: open_.enter_context(_server(kind, folder)) for kind in ("ours", "yardstick")}
        open_.enter_context(_changes(ports["ours"], key))
        for path in paths:
            _report(
                path,
                [
                    {kind: _found(port, path, key, asked.seconds) for kind, port in ports.items()}
                    for _ in range(asked.rounds)
                ],
            )


def _report(path: str, rounds: Sequence[dict[str, Found]]) -> None:
    alone = [one["ours"].alone_ms / one["yardstick"].alone_ms for one in rounds]
    people = [one["ours"].people / one["yardstick"].people for one in rounds]
    typical = {kind: statistics.median(one[kind].alone_ms for one in rounds) for kind in ("ours", "yardstick")}
    served = {kind: statistics.median(one[kind].people for one in rounds) for kind in ("ours", "yardstick")}
    shown = re.sub(r"[a-z]{3}_[0-9a-z]{20}", "{id}", path)
    print(
        f"{shown:32} {typical['ours']:6.2f} of {typical['yardstick']:6.2f} ms: {statistics.median(alone):.2f} ({min(alone):.2f} to {max(alone):.2f})"
        f"   {served['ours']:5.0f} of {served['yardstick']:5.0f} people: {statistics.median(people):.2f} ({min(people):.2f} to {max(people):.2f})",
        flush=True,
    )


def _found(port: int, path: str, key: str, seconds: int) -> Found:
    alone = _load(port, path, key, 1, max(3, seconds))  # the slowest must answer a few times
    best = alone.per_s
    for at_once in AT_ONCE[1:]:
        point = _load(port, path, key, at_once, seconds)
        if point.p90_ms > PATIENCE_MS:
            break
        best = max(best, point.per_s)
    return Found(alone.p50_ms, best)


def _load(port: int, path: str, key: str, at_once: int, seconds: int) -> Point:
    header = f"Authorization: Bearer {key}"
    command = ["wrk", "-t1", f"-c{at_once}", f"-d{seconds}s", "--latency", "-H", header]
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
    ).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None or "Non-2xx" in output:
        raise SystemExit(f"{path}: {output}")
    return Point(float(rate[1]), _milliseconds(output, 50), _milliseconds(output, 90))


def _milliseconds(output: str, percent: int) -> float:
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", output)
    assert found is not None, output
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


@contextmanager
def _stores(folder: Path, database: str) -> Iterator[dict[str, str]]:
    """The settings of both servers. Budgets of requests are counted and never spent."""
    with short_folder("vk-") as valkey, running_valkey(valkey), ExitStack() as open_:
        url = f"sqlite:///{folder}/streamer.db"
        if database == "mariadb":
            port = free_port()
            open_.enter_context(running_mariadb(open_.enter_context(short_folder("my-")), port))
            url = fresh_database(f"mysql+pymysql://root@127.0.0.1:{port}/")
        endless = {f"STREAMER_LIMITS__{kind}": "1000000000" for kind in ("READING", "PAGES", "CHANGING")}
        yield {
            "STREAMER_DATABASE__URL": url,
            "STREAMER_REDIS__URL": valkey_url(valkey),
            "STREAMER_LOG__LEVEL": "error",
            **endless,
        }


def _library(folder: Path, films: int) -> tuple[str, list[str]]:
    """An administrator's key, and what is asked."""
    services = open_services(Config.load(data_dir=folder / "data"))
    migrations.upgrade(services.engine)
    library.fill(services.engine, 0, films)
    with db.session(services) as s:
        admin = users.create(
            s, services.config.accounts, email="admin@example.org", name="Admin", role="admin", password="long enough"
        )
        _, key = apikeys.issue(s, admin, name="load")
        film, link = s.query(Asset.id).order_by(Asset.id).first(), s.query(PlaybackId.id).first()
    close_services(services)
    assert film is not None and link is not None
    api = [
        "/api/v1/assets",
        f"/api/v1/assets/{film[0]}",
        "/api/v1/assets?q=winter",
        "/api/v1/jobs",
        "/api/v1/users",
        "/api/v1/me",
    ]
    return key, [*api, "/", f"/watch/{link[0]}", f"/watch/{link[0]}/state"]


@contextmanager
def _server(kind: str, folder: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.api", "--serve", kind, "--folder", str(folder), "--port", str(port)]
    with _running(command, SERVER, lambda: _listens(port)):
        yield port


@contextmanager
def _changes(port: int, key: str) -> Iterator[None]:
    """A film's title changes once a second."""
    over = threading.Event()

    def change() -> None:
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{port}/api/v1", headers={"Authorization": f"Bearer {key}"}
        ) as client:
            newest = client.get("/assets?limit=1").json()["data"][0]["id"]
            number = 0
            while not over.wait(1):
                number += 1
                client.patch(f"/assets/{newest}", json={"title": f"Winter {number}"}).raise_for_status()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def serve(kind: str, folder: Path, port: int) -> None:
    """In a process of its own: the application, or the same without what is measured."""
    die_with_parent()
    if kind == "yardstick":
        os.environ["STREAMER_CACHE__ENABLED"] = "false"
        _load_lazily()
        _pool_nothing()
    config = Config.load(data_dir=folder / "data")
    uvicorn.run(create_app(config), port=port, access_log=False, log_config=None, server_header=False)


def _load_lazily() -> None:
    """A list asks for each of its rows what it asks for one, and for each of those apart."""
    eager = documents.assets

    def one_by_one(services: Services, s: Session, rows: Sequence[Asset]) -> list[AssetDocument]:
        return [document for row in rows for document in eager(services, s, [row])]

    documents.assets = one_by_one
    links = playback_ids.of

    def each(s: Session, asset_ids: Any) -> Any:
        found: dict[str, list[PlaybackId]] = {}
        for asset_id in asset_ids:
            found |= {asset_id: links(s, [asset_id])[asset_id]}
        return found

    playback_ids.of = each


def _pool_nothing() -> None:
    """SQLite's connections stay: to open a file costs next to nothing."""
    made = db.create

    def create(config: Any, url: str) -> Engine:
        return mariadb.unhurried(make_url(url)) if url.startswith("mysql") else made(config, url)

    db.create = create


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=3, help="of load per measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each endpoint")
    parser.add_argument("--database", choices=("mariadb", "sqlite"), default="mariadb")
    parser.add_argument("--serve", choices=("ours", "yardstick"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
