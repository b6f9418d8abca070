"""The whole application, straight and from behind nginx with the configuration that we recommend. Started once; attacks leave nothing behind."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from streamer import db, migrations, wire
from streamer.accounts import users
from streamer.app import create_app
from streamer.config import Config
from tests.servers import ROOT, die_with_parent, free_port
from tests.streamer.attacks.door import HOST, PASSWORD, Door, Seen
from tests.streamer.running import running
from tests.streamer.stack import make_config, migrated_sqlite

__all__ = ["migrated_sqlite"]


@pytest.fixture(scope="session")
def straight(valkey: str, migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("fortress")
    config = _config(folder, valkey)
    app = create_app(config)
    migrations.upgrade(app.state.services.engine)
    with db.session(app.state.services) as s:
        users.create(s, config.accounts, email="ada@example.org", name="Ada", role="admin", password=PASSWORD)
    seen: Seen = []
    with ExitStack() as clients:
        clients.enter_context(pytest.MonkeyPatch.context()).setattr(wire, "HEAD_S", 1.0)
        url = clients.enter_context(running(_watched(app, seen), trusted_proxies=("127.0.0.1",)))
        yield Door(int(url.rpartition(":")[2]), app.state.services, seen, clients)


@pytest.fixture(scope="session")
def proxied(straight: Door, nginx: str) -> Iterator[Door]:
    with _proxy(nginx, straight.port) as port, ExitStack() as clients:
        yield Door(port, straight.services, straight.seen, clients)


@pytest.fixture(params=["straight", "proxied"])
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.getfixturevalue(request.param)
    found.seen.clear()
    return found


def _config(folder: Path, valkey: str) -> Config:
    weak = {"argon2_time": 1, "argon2_memory_kib": 64, "argon2_lanes": 1}
    server = {"public_url": f"http://{HOST}", "allowed_hosts": (HOST,), "body_timeout_s": 1.0, "threads": 4}
    return make_config(folder, database=f"sqlite:///{folder}/streamer.db", redis=valkey, accounts=weak, server=server)


def _watched(app: ASGIApp, seen: Seen) -> ASGIApp:
    """Notes every request that the application gets to see."""

    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append((scope["method"], scope["path"]))
        await app(scope, receive, send)

    return watching


@contextmanager
def _proxy(nginx: str, origin: int) -> Iterator[int]:
    """Our deploy/nginx.conf, on other ports and with less patience."""
    port = free_port()
    ours = (ROOT / "deploy" / "nginx.conf").read_text().replace("listen 80", f"listen 127.0.0.1:{port}")
    ours = ours.replace("127.0.0.1:8000", f"127.0.0.1:{origin}")
    ours = re.sub(r"client_(header|body)_timeout \d+s", r"client_\1_timeout 1s", ours)
    with tempfile.TemporaryDirectory(prefix="ngx-") as folder:
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in _TEMPORARY)
        head = f"daemon off; {user} worker_processes 1; pid {folder}/pid; error_log stderr crit;\n"
        Path(folder, "nginx.conf").write_text(f"{head} events {{}}\nhttp {{ access_log off;\n{temporary}{ours}\n}}\n")
        process = subprocess.Popen([nginx, "-c", f"{folder}/nginx.conf", "-p", folder], preexec_fn=die_with_parent)
        try:
            _wait(port)
            yield port
        finally:
            process.terminate()
            process.wait()


_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def _wait(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return Door.knock(port)
        except OSError:
            assert time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.02)
