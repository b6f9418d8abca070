"""One fixture per backend, so that the same tests run against all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import ObjectStore, open_store
from storage.local import LocalStore
from storage.memory import MemoryStore
from tests.servers import S3Server
from tests.storage.proxy import FaultyProxy

BACKENDS = ("memory", "local", "s3")


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each backend."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    return s3_store(request.getfixturevalue("seaweedfs"))


@pytest.fixture
def proxy(seaweedfs: S3Server) -> Iterator[FaultyProxy]:
    """A proxy before the real S3 that does wrong what a test tells it to."""
    with FaultyProxy(seaweedfs.endpoint) as running:
        yield running


def s3_store(server: S3Server, endpoint: str | None = None) -> ObjectStore:
    """An empty bucket with a prefix, reached directly or through another endpoint."""
    url = f"s3://{server.bucket()}/some/prefix?endpoint={endpoint or server.endpoint}&region=us-east-1"
    return open_store(url, access_key=server.access_key, secret_key=server.secret_key)
