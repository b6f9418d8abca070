"""What lists cost as the library grows: every list of the API at 1,000 and at 100,000 films, on both databases, in one run.

    python -m benchmarks.lists [--films 1000 100000] [--requests 200] [--databases sqlite mariadb]

`tests/library.py` writes the library. Milliseconds are the 95th percentile of requests one after the other to the running server, by its administrator; the
ratio is that of the largest library to the smallest, and should be at most 2.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx2

from streamer import db
from tests import library
from tests.servers import free_port, fresh_database, running_mariadb, short_folder
from tests.whole import Product

DATABASES = ("sqlite", "mariadb")
PAGE = 20
LISTS = (
    "/assets", "/assets?q=winter", "/assets?q=win", "/assets?q=winter night", "/assets?q=nothing-has-this", "/uploads", "/uploads?state=failed",
    "/jobs", "/jobs?state=failed", "/jobs?state=succeeded", "/users", "/events?after=0", "/events?after=0&type=asset.errored", "/playback-sessions",
    "/audit", "/api-keys", "/collections", f"/collections/{library.COLLECTION}/films", "/invitations", "/roles", "/plans",
    "/webhook-endpoints", f"/webhook-endpoints/{library.ENDPOINT}/deliveries",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--databases", choices=DATABASES, nargs="+", default=DATABASES)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, short_folder("my-") as sql, ExitStack() as open_:
        port = free_port()
        open_.enter_context(running_mariadb(sql, port))
        mariadb = {"STREAMER_DATABASE__URL": fresh_database(f"mysql+pymysql://root@127.0.0.1:{port}/")}
        for database in asked.databases:
            settings = mariadb if database == "mariadb" else {}
            quiet = {
                "STREAMER_JOBS__WORKERS": "0",
                "STREAMER_LOG__LEVEL": "error",
                "STREAMER_CACHE__ENABLED": "false",
                **settings,
            }
            with Product(Path(name) / database, **quiet) as product:
                _compare(database, product, asked.films, asked.requests)


def _compare(database: str, product: Product, films: Sequence[int], requests: int) -> None:
    engine = db.create(product.config.database, product.config.database_url)
    found: dict[str, list[float]] = {}
    there = 0
    for count in films:
        library.fill(engine, there, count)
        there = count
        for where, took in _measured(product, requests).items():
            found.setdefault(where, []).append(took)
    engine.dispose()
    for where, each in found.items():
        if len(each) < 2:
            continue  # too short in the small library to go deep
        print(
            f"{database:8} {where:52} {'  '.join(f'{ms:7.1f}' for ms in each)} ms   ratio {each[-1] / each[0]:.2f}",
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
        client.get(_paged(where)).raise_for_status()
        took.append(1000 * (time.perf_counter() - since))
        if sum(took) > 20_000:
            break
    return statistics.quantiles(took, n=20)[-1]


def _paged(where: str) -> str:
    """Pages so small that the smallest library fills them."""
    return where if "limit=" in where else f"{where}{'&' if '?' in where else '?'}limit={PAGE}"


def _deep(client: httpx2.Client, where: str) -> str | None:
    """The same list after ten full pages."""
    cursor = ""
    for _ in range(10):
        page = client.get(f"{_paged(where)}{cursor}").raise_for_status().json()
        if not page.get("next_cursor"):
            return None
        cursor = f"&cursor={page['next_cursor']}"
    return f"{_paged(where)}{cursor}"


if __name__ == "__main__":
    main()
