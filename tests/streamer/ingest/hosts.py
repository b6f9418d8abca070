"""Web hosts that share a database, Redis and S3, and no disk."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2

from streamer import listener
from streamer.config import LISTEN_FD, Config, Data
from tests.servers import ROOT, S3Server, die_with_parent
from tests.streamer.jobs.processes import environment
from tests.streamer.stack import wait_for
from tests.web import NO_TLS


@dataclass(frozen=True)
class Host:
    """A web process on a machine of its own, and where it listens."""

    process: "subprocess.Popen[bytes]"
    base: str

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def in_s3(config: Config, seaweedfs: S3Server) -> Config:
    """The same, with films and uploads in a new bucket."""
    storage = {
        "url": seaweedfs.url(seaweedfs.bucket()),
        "access_key": seaweedfs.access_key,
        "secret_key": seaweedfs.secret_key,
    }
    return config.model_copy(
        update={
            "storage": config.storage.model_copy(update=storage),
            "ingest": config.ingest.model_copy(update={"uploads": "storage"}),
        }
    )


@contextmanager
def host(config: Config, name: str) -> Iterator[Host]:
    """A web process with an empty data folder, but for the keys that hosts share."""
    folder = config.data.dir / name
    folder.mkdir()
    (folder / "secrets.json").write_bytes(config.secrets_file.read_bytes())
    (folder / "secrets.json").chmod(0o600)
    elsewhere = config.model_copy(update={"data": Data(dir=folder)})
    sock = listener.listen("127.0.0.1", 0)
    env = environment(elsewhere) | {LISTEN_FD: str(sock.fileno())}
    env |= {"STREAMER_INGEST__UPLOADS": config.ingest.uploads}
    env |= {f"STREAMER_STORAGE__{name.upper()}": value for name, value in config.storage.model_dump().items()}
    log = (folder / "web.log").open("wb")
    started = subprocess.Popen(
        [sys.executable, "-m", "streamer", "web"],
        cwd=ROOT,
        env=env,
        pass_fds=[sock.fileno()],
        stdout=log,
        stderr=log,
        preexec_fn=die_with_parent,
    )
    running = Host(started, f"http://127.0.0.1:{sock.getsockname()[1]}")
    try:
        wait_for(lambda: httpx2.get(f"{running.base}/livez", timeout=30, verify=NO_TLS).status_code == 200)
        yield running
    finally:
        running.kill()
        sock.close()
        log.close()
