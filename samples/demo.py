#!/usr/bin/env python
"""The main job, end to end: start the server, upload a film through its public API, watch it become HLS, play it.

    python samples/demo.py [--film PATH] [--once] [--data DIR] [--port N]

Everything goes the way a customer's program would go: a bearer key, `POST /api/v1/uploads`, the asset's progress, a playback session, a signed
URL. With `--once` FFmpeg's HLS client (through PyAV) plays every rendition of the result, `packager check` judges it, and any fault ends in a
non-zero exit code; without it the server keeps running until Ctrl-C.
"""

import argparse
import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).resolve().parent.parent
SAMPLE, MAKER = ROOT / "samples" / "sample.mp4", ROOT / "samples" / "make.py"
EMAIL = "editor@example.org"
READY_S, DONE_S = 60, 4 * 3600
PIECE = 1 << 20
console = Console(highlight=False)


class DemoFailed(Exception):
    """Something in the main job went wrong; the message says what."""


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # leave by the way that stops the server
    arguments = _arguments()
    film = arguments.film or _sample()
    if not film.is_file():
        _fail(f"there is no film at {film}")
    arguments.data.parent.mkdir(parents=True, exist_ok=True)
    arguments.data.mkdir(mode=0o700, exist_ok=True)
    password, key = _account(arguments.data)
    try:
        with Server(arguments.data, arguments.port) as server:
            _run(server, film, key, password, once=arguments.once)
    except DemoFailed as error:
        _fail(str(error))
    except KeyboardInterrupt:
        console.print("\nstopped")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", type=Path, help="a film of yours; a sample is made when not given")
    parser.add_argument("--once", action="store_true", help="play the result with a real client and exit")
    parser.add_argument("--data", type=Path, default=ROOT / "var", help="where the server keeps everything")
    parser.add_argument("--port", type=int, default=8000, help="the port; another free one is taken when it is in use")
    return parser.parse_args()


def _fail(sentence: str) -> NoReturn:
    print(f"demo: {sentence}", file=sys.stderr)
    sys.exit(1)


def _sample() -> Path:
    if not SAMPLE.exists() or SAMPLE.stat().st_mtime < MAKER.stat().st_mtime:
        subprocess.run([sys.executable, str(MAKER), "--out", str(SAMPLE)], check=True)
    return SAMPLE


def _account(data: Path) -> tuple[str, str]:
    """An editor with an API key, made on the first run and remembered beside the server's own secrets."""
    file = data / "demo.json"
    if file.exists():
        known = json.loads(file.read_text())
        return known["password"], known["key"]
    password = secrets.token_urlsafe(12)
    _streamer(
        "user",
        "create",
        "--email",
        EMAIL,
        "--name",
        "Demo editor",
        "--role",
        "admin",
        "--password",
        password,
        "--data",
        str(data),
    )
    key = _streamer("apikey", "create", "--user", EMAIL, "--data", str(data)).strip()
    with open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
        json.dump({"password": password, "key": key}, out)
    return password, key


def _streamer(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "streamer", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        _fail(done.stderr.strip() or f"streamer {words[0]} failed")
    return done.stdout


class Server:
    """`streamer up` as a child, ready when entered and stopped cleanly when left."""

    def __init__(self, data: Path, port: int) -> None:
        self.port = port if _free(port) else _any_free()
        self._log = (data / "demo.log").open("ab")
        command = [sys.executable, "-m", "streamer", "up", "--data", str(data), "--port", str(self.port)]
        # In a session of its own: Ctrl-C is for us, and the server is stopped once, by `_stop`.
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=self._log, start_new_session=True)
        self._name = data / "demo.log"

    def __enter__(self) -> "Server":
        with console.status("starting the server"):
            deadline = time.monotonic() + READY_S
            while not self._ready():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._stop()
                    raise DemoFailed(f"the server did not start; the end of {self._name} says why:\n{self._tail()}")
                time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (status := self._stop()) and not error:
            raise DemoFailed(f"the server ended with exit code {status}; see {self._name}")

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.answer("GET", "/healthz")[0] == 200
        return False

    def _stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=60)

    def _tail(self) -> str:
        return "\n".join(self._name.read_text(errors="replace").splitlines()[-15:])

    def wait(self) -> None:
        self._process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, key: str, body: Any = None) -> Any:
        """The JSON answer of the API; a refusal becomes DemoFailed with the problem's own words."""
        status, answer = self.answer(method, path, key, None if body is None else json.dumps(body).encode())
        if status >= 400:
            raise DemoFailed(f"{method} {path} was refused with {status}: {answer.get('detail') or answer}")
        return answer

    def answer(
        self, method: str, path: str, key: str = "", body: Any = None, length: int | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers["Content-Type"] = "application/json" if isinstance(body, bytes) else "application/octet-stream"
        if length is not None:
            headers["Content-Length"] = str(length)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else {}
        finally:
            connection.close()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(server: Server, film: Path, key: str, password: str, *, once: bool) -> None:
    asset = _ready_asset(server, film, key)
    playback = asset["playback_ids"][0]["id"]
    session = server.call("POST", "/api/v1/playback-sessions", key, {"playback_id": playback})
    console.print(
        f"[bold]ready[/]: {asset['title']}, {asset['duration_s']:.1f} s, up to {asset['width']}x{asset['height']}"
    )
    if once:
        _play(session["manifest_url"])
        _judge(session["manifest_url"])
        return
    console.print(f"signed URL    {session['manifest_url']}", soft_wrap=True)
    console.print(f"player        {server.url}/watch/{playback}", soft_wrap=True)
    console.print(f"admin         {server.url}/admin   {EMAIL}  {password}", soft_wrap=True)
    console.print("Ctrl-C stops the server.")
    server.wait()


def _ready_asset(server: Server, film: Path, key: str) -> Any:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        asset_id = _upload(server, film, key, bars)
        task = bars.add_task("transcode", total=100, note="")
        deadline = time.monotonic() + DONE_S
        while time.monotonic() < deadline:
            asset = server.call("GET", f"/api/v1/assets/{asset_id}", key)
            state, progress = asset["processing"], asset.get("progress") or {}
            speed = f"{state} {progress['speed']:.1f}x" if progress.get("speed") else state
            bars.update(task, completed=100 if state == "ready" else progress.get("percent", 0), note=speed)
            if state == "ready":
                return asset
            if state in ("errored", "cancelled"):
                raise DemoFailed(f"the film became {state}: {(asset.get('error') or {}).get('detail')}")
            time.sleep(0.3)
    raise DemoFailed("the film did not become ready in time")


def _upload(server: Server, film: Path, key: str, bars: Progress) -> str:
    size = film.stat().st_size
    task = bars.add_task("upload", total=size, note="")

    def pieces() -> Iterator[bytes]:
        with film.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
                bars.advance(task, len(piece))

    query = f"filename={quote(film.name)}&title={quote(_title(film))}&policy=public"
    status, answer = server.answer("POST", f"/api/v1/uploads?{query}", key, pieces(), size)
    if status != 201:
        raise DemoFailed(f"the upload was refused with {status}: {answer.get('detail') or answer}")
    return str(answer["asset"]["id"])


def _title(film: Path) -> str:
    return "The counting hills" if film == SAMPLE else film.stem


def _play(url: str) -> None:
    """Play every rendition to the end with FFmpeg's HLS client; each must show as many seconds as the film has."""
    import av

    with av.open(url) as container:
        duration = (container.duration or 0) / 1_000_000
        count = len(container.streams)
    if not count or not duration:
        raise DemoFailed("the signed URL opens but holds nothing to play")
    for index in range(count):
        shown = _seconds(url, index)
        if abs(shown - duration) > 0.5:
            raise DemoFailed(f"stream {index} of the signed URL plays {shown:.2f} s of {duration:.2f} s")
    console.print(f"played        {count} streams of {duration:.1f} s with FFmpeg from {urlsplit(url).netloc}")


def _seconds(url: str, index: int) -> float:
    import av

    with av.open(url) as container:
        stream = container.streams[index]
        if stream.type not in ("video", "audio"):
            return float((container.duration or 0) / 1_000_000)
        frames = [_shown(frame) for packet in container.demux(stream) for frame in packet.decode()]
    return max(end for _, end in frames) - min(start for start, _ in frames) if frames else 0.0


def _shown(frame: Any) -> tuple[float, float]:
    """When a frame of picture or sound starts and ends, in seconds."""
    start = float(frame.time or 0)
    if hasattr(frame, "samples"):
        return start, start + frame.samples / frame.sample_rate
    return start, start + float((frame.duration or 0) * frame.time_base)


def _judge(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "packager.cli", "check", url], cwd=ROOT, capture_output=True, text=True
    )
    console.print(done.stdout.strip())
    if done.returncode:
        raise DemoFailed(f"packager check found broken rules (exit code {done.returncode}) {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
