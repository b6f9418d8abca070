import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from storage.memory import MemoryStore
from streamer.config import Config
from streamer.ingest import scratch
from streamer.jobs.errors import TaskFailed, TaskStopped
from streamer.services import Services
from tests.streamer.stack import make_config

KEY, BYTES = "sources/ast_1/upl_1", b"the source" * 1000


@pytest.fixture
def config(tmp_path: Path, redis_url: str) -> Config:
    return make_config(tmp_path, database="", redis=redis_url, ingest={"min_free_bytes": 0})


@pytest.fixture
def remote(services: Services) -> Iterator[Services]:
    """The same with a store that has no disk."""
    store = MemoryStore()
    store.put(KEY, BYTES, type="video/mp4")
    yield replace(services, store=store)


def never() -> bool:
    return False


def test_a_source_on_our_own_disk_is_not_copied(services: Services) -> None:
    services.store.put(KEY, BYTES, type="video/mp4")
    with scratch.source(services, KEY, len(BYTES), never) as path:
        assert path.read_bytes() == BYTES
        assert not services.config.scratch_dir.exists()
    assert services.store.read(KEY) == BYTES


def test_a_source_elsewhere_is_copied_for_as_long_as_the_job_lasts(remote: Services) -> None:
    with scratch.source(remote, KEY, len(BYTES), never) as path:
        assert path.read_bytes() == BYTES
    assert list(remote.config.scratch_dir.iterdir()) == []


def test_the_copy_goes_when_the_job_fails(remote: Services) -> None:
    with pytest.raises(ZeroDivisionError), scratch.source(remote, KEY, len(BYTES), never):
        raise ZeroDivisionError
    assert list(remote.config.scratch_dir.iterdir()) == []


def test_what_a_killed_worker_left_goes_and_what_is_in_use_stays(remote: Services) -> None:
    used, left = (remote.config.scratch_dir / name for name in ("scr_used", "scr_left"))
    for folder in (used, left):
        folder.mkdir(parents=True)
        (folder / "source").write_bytes(b"old")
    handle = os.open(used, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with scratch.source(remote, KEY, len(BYTES), never):
        assert used.exists() and not left.exists()
    os.close(handle)


def test_copying_stops_when_the_job_must(remote: Services) -> None:
    with pytest.raises(TaskStopped), scratch.source(remote, KEY, len(BYTES), lambda: True):
        pass
    assert list(remote.config.scratch_dir.iterdir()) == []


def test_a_worker_without_room_says_so_and_tries_again(remote: Services) -> None:
    with pytest.raises(TaskFailed, match="MiB left") as refusal, scratch.source(remote, KEY, 1 << 60, never):
        pass
    assert refusal.value.code == "scratch_full" and refusal.value.retryable


@pytest.mark.parametrize("where", ["services", "remote"])
def test_a_source_that_is_gone_is_final(request: pytest.FixtureRequest, where: str) -> None:
    found: Services = request.getfixturevalue(where)
    with pytest.raises(TaskFailed) as refusal, scratch.source(found, "sources/ast_1/none", 1, never):
        pass
    assert refusal.value.code == "source_missing" and not refusal.value.retryable


def test_a_source_that_arrives_short_is_tried_again(remote: Services) -> None:
    with pytest.raises(TaskFailed) as refusal, scratch.source(remote, KEY, len(BYTES) + 1, never):
        pass
    assert refusal.value.code == "source_incomplete" and refusal.value.retryable
