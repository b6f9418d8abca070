"""The whole product as its users meet it: `streamer up` in a process of its own, and a customer's program that talks to it over HTTP."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch
from urllib.parse import quote, urlsplit

from streamer import db, migrations
from streamer.accounts import apikeys, users
from streamer.accounts.roles import Role
from streamer.config import Config
from streamer.services import close_services, open_services
from tests.servers import ROOT, die_with_parent, free_port, sample

T = TypeVar("T")
# Dead workers are noticed in seconds instead of half a minute; everything else is as delivered.
IMPATIENT = {
    "STREAMER_JOBS__LEASE_S": "3",
    "STREAMER_JOBS__HEARTBEAT_S": "0.5",
    "STREAMER_JOBS__SWEEP_S": "0.5",
    "STREAMER_JOBS__BACKOFF_S": "0.5",
}


@dataclass
class Answer:
    """One HTTP answer; `json` is its body when that is JSON."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Product:
    """A running server with one administrator and their API key."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.data, self.port = data, free_port()
        data.mkdir(parents=True, exist_ok=True)
        self.environment = {**os.environ, **IMPATIENT, **environment}
        self.email, self.password = "admin@example.org", "correct horse battery"
        self.key = first_account(self.config, self.email, "Admin", self.password)
        self.log = data / "up.log"

    @property
    def config(self) -> Config:
        """What its processes read."""
        with patch.dict(os.environ, self.environment):
            return Config.load(data_dir=self.data)

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A `streamer` command on its data."""
        command = [sys.executable, "-m", "streamer", *words, "--data", str(self.data)]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)

    def __enter__(self) -> "Product":
        command = [sys.executable, "-m", "streamer", "up", "--data", str(self.data), "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        self.wait(self.is_ready, 40)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        assert status == 0, f"streamer up ended with {status}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        try:
            return self.get("/healthz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait(self, condition: Callable[[], T], timeout_s: float = 90) -> T:
        """The first true answer of `condition`; the end of the server's log when there is none in time."""
        deadline = time.monotonic() + timeout_s
        while not (answer := condition()):
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.1)
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def request(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Answer:
        """One request; `path` may be a whole URL of this server. Names of headers take _ for -. With `key` or a body it is authorised."""
        where = urlsplit(path)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["Authorization"] = f"Bearer {key}"
        try:
            connection.request(method, where.path + (f"?{where.query}" if where.query else ""), body=body, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, value: Any = None) -> Answer:
        body = None if value is None else json.dumps(value)
        return self.request(method, f"/api/v1{path}", body, key=self.key, Content_Type="application/json")

    def upload(self, film: Path | bytes, *, name: str = "film.mp4", policy: str = "private") -> Answer:
        body = film if isinstance(film, bytes) else film.read_bytes()
        path = f"/api/v1/uploads?filename={quote(name)}&title=Film&policy={policy}"
        return self.request("POST", path, body, key=self.key, Content_Type="application/octet-stream")

    def asset(self, asset_id: str) -> Any:
        return self.api("GET", f"/assets/{asset_id}").json

    def settled(self, asset_id: str, timeout_s: float = 120) -> Any:
        """The asset once nothing more will happen to it by itself."""

        def look() -> Any:
            asset = self.asset(asset_id)
            final = asset["processing"] == "errored" and not (asset["error"] or {}).get("next_retry_at")
            return asset if final or asset["processing"] == "ready" else None

        return self.wait(look, timeout_s)

    def ready(self, film: Path, **options: str) -> Any:
        """Upload a film and wait until it plays."""
        answer = self.upload(film, **options)
        assert answer.status == 201, answer.body
        asset = self.settled(answer.json["asset"]["id"])
        assert asset["processing"] == "ready", asset["error"]
        return asset

    def play(self, asset: Any) -> Any:
        """A new playback session of an asset."""
        answer = self.api("POST", "/playback-sessions", {"playback_id": asset["playback_ids"][0]["id"]})
        assert answer.status == 201, answer.body
        return answer.json

    def pids(self, word: str) -> list[int]:
        """Processes below `streamer up` whose command line has `word`."""
        return [pid for pid in _descendants(self.process.pid) if word in _command_line(pid)]


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def first_account(config: Config, email: str, name: str, password: str) -> str:
    """An API key of a new administrator, as `user create` and `apikey create` make them, without two more processes."""
    services = open_services(config)
    try:
        migrations.upgrade(services.engine)
        with db.session(services) as s:
            user = users.create(s, config.accounts, email=email, name=name, role=Role.ADMIN, password=password)
            return apikeys.issue(s, user, name="command line")[1]
    finally:
        close_services(services)


def make_film(path: Path, *, seconds: int, size: str, fps: int = 15) -> Path:
    """A film like the demo's: counted frames, a beep at each second. Every frame is drawn and encoded, so they are few."""
    options = ("--seconds", str(seconds), "--size", size, "--fps", str(fps))
    return Path(shutil.copyfile(sample(f"film-{seconds}s-{size}-{fps}fps", *options), path))
