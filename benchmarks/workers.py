"""How much sooner a film is done by several workers, and how soon a dead worker's step is somebody else's.

    python -m benchmarks.workers [--minutes 8] [--size 640x360] [--pairs 3] [--reclaims 3]

Workers stand for machines: each has one core of its own and its own data folder, and they share MariaDB, Valkey and S3. One, and as many as there
are cores, make the same film in turn; seconds are from the job's start to its end, by the database's clock. Then each reclaim kills a worker, with
all it started, in the middle of a step (`kill -9`, at the default lease), and waits until another one has that step. In the end `streamer fsck`
compares every object with the hash in its chunk's index, and the indexes with the playlists.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.memory import repeat
from faults import servers
from faults.senders import unlike_any_other
from streamer.config import Jobs
from tests.servers import ROOT, die_with_parent
from tests.whole import Product, make_film

PATIENCE_S = 3600
DELIVERED = {
    f"STREAMER_JOBS__{name.upper()}": str(getattr(Jobs(), name))
    for name in ("lease_s", "heartbeat_s", "sweep_s", "backoff_s")
}
"""The product's own patience with dead workers, where tests have less."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=8)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--reclaims", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, servers.running(storage_errors=0, seed=1) as around:
        folder, cores = Path(name), sorted(os.sched_getaffinity(0))
        repeat(
            make_film(folder / "minute.mp4", seconds=60, size=asked.size, fps=30), folder / "film.mp4", asked.minutes
        )
        film = (folder / "film.mp4").read_bytes()
        product = Product(folder / "web", **around.environment | DELIVERED | {"STREAMER_JOBS__WORKERS": "0"})
        with product:
            seconds: dict[int, list[float]] = {count: [] for count in sorted({1, len(cores)})}
            for _ in range(asked.pairs):
                for count, taken in seconds.items():
                    taken.append(_encode(product, film, folder, cores[:count]))
            _report(seconds)
            for _ in range(asked.reclaims):
                print(
                    f"a dead worker's step was another's after {_reclaim(product, film, folder, cores):.1f} s",
                    flush=True,
                )
        print(product.command("fsck", "--settled", "0").stdout.strip().splitlines()[-1], flush=True)


def _report(seconds: dict[int, list[float]]) -> None:
    for count, taken in seconds.items():
        print(f"{count} worker(s): {statistics.median(taken):.1f} s ({min(taken):.1f} to {max(taken):.1f})", flush=True)
    one, *many = (statistics.median(taken) for taken in seconds.values())
    for each in many:
        print(f"ratio: {one / each:.2f} times as fast", flush=True)


def _encode(product: Product, film: bytes, folder: Path, cores: Sequence[int]) -> float:
    """Seconds for the film by a worker on each of the cores."""
    with _workers(product, folder, cores):
        version = _uploaded(product, film)
        job = product.wait(lambda: _ended(product, version), PATIENCE_S)
    assert job["state"] == "succeeded", job
    return (datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["started_at"])).total_seconds()


def _reclaim(product: Product, film: bytes, folder: Path, cores: Sequence[int]) -> float:
    """Seconds from the death of a worker until its step runs elsewhere."""
    with _workers(product, folder, cores) as workers:
        version = _uploaded(product, film)
        step, process = product.wait(lambda: _in_hand(product, version, workers), PATIENCE_S)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
        died = time.monotonic()
        product.wait(lambda: _elsewhere(product, version, step), PATIENCE_S)
        taken = time.monotonic() - died
        assert product.wait(lambda: _ended(product, version), PATIENCE_S)["state"] == "succeeded"
    return taken


def _uploaded(product: Product, film: bytes) -> str:
    """The id of the new film's version."""
    version: str = product.upload(unlike_any_other(film)).json["asset"]["version_id"]
    return version


def _transcode(product: Product, version: str) -> Any:
    jobs = product.api("GET", f"/jobs?subject_id={version}").json["data"]
    return product.api("GET", f"/jobs/{next(job['id'] for job in jobs if job['kind'] == 'transcode')}").json


def _ended(product: Product, version: str) -> Any:
    job = _transcode(product, version)
    return job if job["finished_at"] else None


def _in_hand(product: Product, version: str, workers: Sequence[subprocess.Popen[bytes]]) -> Any:
    """A step of pictures that is running, and its worker's process."""
    running = [
        step for step in _transcode(product, version)["steps"] if step["state"] == "running" and "chunk" in step["name"]
    ]
    found = ((step, process) for step in running for process in workers if f".{process.pid}." in step["worker"])
    return next(found, None)


def _elsewhere(product: Product, version: str, step: Any) -> bool:
    now = next((each for each in _transcode(product, version)["steps"] if each["id"] == step["id"]), None)
    return now is None or (now["state"] == "running" and now["worker"] != step["worker"])


@contextmanager
def _workers(product: Product, folder: Path, cores: Sequence[int]) -> Iterator[list[subprocess.Popen[bytes]]]:
    with ExitStack() as open_:
        yield [open_.enter_context(_worker(product, folder / f"machine-{core}", core)) for core in cores]


@contextmanager
def _worker(product: Product, data: Path, core: int) -> Iterator[subprocess.Popen[bytes]]:
    """`streamer worker` as on a machine with one core."""

    def alone() -> None:
        die_with_parent()
        os.sched_setaffinity(0, {core})

    data.mkdir(exist_ok=True)
    (data / "secrets.json").write_bytes((product.data / "secrets.json").read_bytes())
    (data / "secrets.json").chmod(0o600)
    command = [sys.executable, "-m", "streamer", "worker", "--data", str(data)]
    with (data / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=product.environment, stdout=log, stderr=log, preexec_fn=alone, start_new_session=True
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()
