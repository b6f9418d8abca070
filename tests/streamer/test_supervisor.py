"""`streamer up` for real: what starts, what comes back after a kill -9, what is gone afterwards."""

import json
import os
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest
import redis

from streamer.config import Config
from tests.servers import die_with_parent
from tests.streamer.stack import migrated_sqlite, wait_for
from tests.web import NO_TLS

__all__ = ["migrated_sqlite"]

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("valkey", "web", "worker", "scheduler")


class Up:
    """A running `streamer up`."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        data.parent.mkdir(exist_ok=True)
        self.log = data.with_name(f"{data.name}-{time.monotonic_ns()}.log")
        command = [sys.executable, "-m", "streamer", "up", "--data", str(data), "--port", "0"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=die_with_parent,
            )
        self.url = ""

    def ready(self) -> "Up":
        """Waits for the line that says so."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 60)[0], self.log.read_text()
        line = self.process.stdout.readline()
        found = re.fullmatch(r"Streamer is ready at (http://127\.0\.0\.1:\d+/)\n", line)
        assert found, line + self.log.read_text()
        self.url = found[1]
        return self

    def healthy(self) -> bool:
        with suppress(httpx2.HTTPError):
            return httpx2.get(f"{self.url}healthz", timeout=5, verify=NO_TLS).status_code == 200
        return False

    def started(self, part: str) -> list[int]:
        """The process ids this part has had, in order."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line["pid"] for line in lines if line.get("event") == "started" and line.get("child") == part]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def up(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Up]:
    """One to be ended, on a database that is there."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    shutil.copyfile(migrated_sqlite, data / "streamer.db")
    with starting(data) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for the tests after which it still runs, on a new folder."""
    with starting(tmp_path_factory.mktemp("lasting") / "data") as running:
        yield running


@contextmanager
def starting(data: Path) -> Iterator[Up]:
    running = Up(data)
    try:
        yield running.ready()
    finally:
        with suppress(ProcessLookupError):
            running.stop(signal.SIGKILL)


def family(data: Path) -> set[int]:
    """Every process that works for this data folder, found by its environment or its command line."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                words = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
                if os.fsencode(data) in words:
                    found.add(int(folder.name))
    return found


def test_all_parts_start_and_the_address_is_told_when_it_is_ready(lasting: Up) -> None:
    """The first of its tests: none of its parts has been killed yet."""
    assert lasting.healthy()
    assert all(len(lasting.started(part)) == 1 for part in PARTS)
    assert lasting.data.stat().st_mode & 0o077 == 0
    assert (lasting.data / "secrets.json").stat().st_mode & 0o077 == 0


def test_each_part_comes_back_when_it_is_killed(lasting: Up) -> None:
    before = [len(lasting.started(part)) for part in PARTS]
    for part in PARTS:
        kill(lasting, part)
        wait_for(lasting.healthy)
    after = [len(lasting.started(part)) for part in PARTS]
    assert after == [count + 1 for count in before], "and none of the others was disturbed"


def kill(running: Up, part: str) -> None:
    """With -9, and wait for the next one."""
    before = running.started(part)
    os.kill(before[-1], signal.SIGKILL)
    wait_for(lambda: len(running.started(part)) == len(before) + 1)


def test_clients_wait_while_the_web_process_is_restarted(lasting: Up) -> None:
    """The listening socket is the supervisor's: a request that comes in the gap is answered late, not refused."""
    os.kill(lasting.started("web")[-1], signal.SIGKILL)
    assert httpx2.get(f"{lasting.url}livez", timeout=20, verify=NO_TLS).status_code == 200


def test_what_valkey_acknowledged_survives_its_kill(lasting: Up) -> None:
    with redis.Redis.from_url(Config.load(data_dir=lasting.data).redis_url) as client:
        client.set("kept", "yes")
        kill(lasting, "valkey")
        wait_for(lasting.healthy)
        assert client.get("kept") == b"yes"


def test_a_torn_end_of_valkeys_file_does_not_keep_it_from_starting(up: Up) -> None:
    with redis.Redis.from_url(Config.load(data_dir=up.data).redis_url) as client:
        client.set("kept", "yes")
    up.stop()
    (aof,) = (up.data / "valkey" / "appendonlydir").glob("*.incr.aof")
    with aof.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
    again = Up(up.data).ready()
    try:
        with redis.Redis.from_url(Config.load(data_dir=up.data).redis_url) as client:
            assert client.get("kept") == b"yes"
    finally:
        again.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_ends_everything_cleanly(up: Up, number: signal.Signals) -> None:
    started = time.monotonic()
    assert up.stop(number) == 0
    assert time.monotonic() - started < 15
    assert family(up.data) == set()
    with sqlite3.connect(up.data / "streamer.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert not Config.load(data_dir=up.data).redis_socket.exists(), "Valkey removes it when it has time to"


def test_two_different_signals_are_one_wish_and_still_end_everything_cleanly(up: Up) -> None:
    up.process.send_signal(signal.SIGINT)
    assert up.stop(signal.SIGTERM) == 0
    ends = [line for line in up.log.read_text().splitlines() if '"ended"' in line]
    assert len(ends) == len(PARTS) and not any("SIGKILL" in line for line in ends)


def test_a_killed_supervisor_leaves_no_orphans(up: Up) -> None:
    assert len(family(up.data)) >= len(PARTS) + 1
    up.stop(signal.SIGKILL)
    wait_for(lambda: family(up.data) == set(), 10)


def test_it_starts_again_right_after_it_was_killed(up: Up) -> None:
    up.stop(signal.SIGKILL)
    again = Up(up.data).ready()
    assert again.healthy()
    assert again.stop() == 0


def test_a_second_one_on_the_same_folder_is_refused_in_one_sentence(lasting: Up) -> None:
    second = Up(lasting.data)
    assert second.process.wait(30) == 1
    assert second.process.stdout is not None
    second.process.stdout.close()
    said = second.log.read_text()
    assert said == f"streamer: `streamer up` already runs on {lasting.data} (process {lasting.process.pid})\n"
    assert lasting.healthy()


def test_a_taken_port_is_said_in_one_sentence(lasting: Up, tmp_path: Path) -> None:
    port = lasting.url.rstrip("/").rpartition(":")[2]
    other = subprocess.run(
        [sys.executable, "-m", "streamer", "up", "--data", str(tmp_path / "other"), "--port", port],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert other.returncode == 1
    assert other.stderr.startswith(f"streamer: can't listen on 127.0.0.1:{port}:")


def test_a_folder_with_a_long_path_works(tmp_path: Path) -> None:
    """A unix socket's path ends at 108 bytes."""
    deep = Up(tmp_path / ("d" * 100) / "data").ready()
    assert deep.healthy()
    assert deep.stop() == 0


def test_the_same_command_runs_on_servers_of_ones_own(
    tmp_path: Path, mariadb_url: str, redis_url: str, s3_url: str
) -> None:
    grown = Up(
        tmp_path / "data",
        STREAMER_DATABASE__URL=mariadb_url,
        STREAMER_REDIS__URL=redis_url,
        STREAMER_STORAGE__URL=s3_url,
        STREAMER_SERVER__PROCESSES="2",
    ).ready()
    assert grown.healthy()
    assert [len(grown.started(part)) for part in PARTS] == [0, 2, 1, 1]
    assert not (grown.data / "streamer.db").exists()
    assert grown.stop() == 0
