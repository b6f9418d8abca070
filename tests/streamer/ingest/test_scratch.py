import fcntl
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


def test_a_source_elsewhere_is_copied_once_for_all_its_steps(remote: Services) -> None:
    with scratch.source(remote, KEY, len(BYTES), never) as path, scratch.source(remote, KEY, len(BYTES), never) as same:
        assert path == same and path.read_bytes() == BYTES
    remote.store.delete(KEY)
    remote.store.put(KEY, b"", type="video/mp4")
    with scratch.source(remote, KEY, len(BYTES), never) as path:
        assert path.read_bytes() == BYTES


def test_workers_that_want_the_same_source_at_once_fetch_it_once(remote: Services) -> None:
    class Counting(MemoryStore):
        asked = 0

        def chunks(self, key: str, *, size: int = 1 << 20) -> Iterator[bytes]:
            self.asked += 1
            time.sleep(0.3)
            return super().chunks(key, size=size)

    store = Counting()
    store.put(KEY, BYTES, type="video/mp4")
    shared = replace(remote, store=store)

    def read(_: int) -> bytes:
        with scratch.source(shared, KEY, len(BYTES), never) as path:
            return path.read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [BYTES] * 4
    assert store.asked == 1


def test_copies_go_when_nobody_used_them_for_an_hour_and_stay_while_in_use(remote: Services) -> None:
    used, left, fresh = (remote.config.scratch_dir / name for name in ("scr_used", "scr_left", "scr_fresh"))
    for folder in (used, left, fresh):
        folder.mkdir(parents=True)
        (folder / "source").write_bytes(b"old")
        os.utime(folder, (0, 0) if folder != fresh else None)
    handle = os.open(used, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    with scratch.source(remote, KEY, len(BYTES), never):
        assert used.exists() and fresh.exists() and not left.exists()
    os.close(handle)


def test_what_a_killed_worker_left_half_is_fetched_anew(remote: Services) -> None:
    with scratch.source(remote, KEY, len(BYTES), never) as path:
        pass
    path.rename(path.with_name("part"))
    with scratch.source(remote, KEY, len(BYTES), never) as again:
        assert again == path and path.read_bytes() == BYTES


def test_copying_stops_when_the_job_must(remote: Services) -> None:
    with pytest.raises(TaskStopped), scratch.source(remote, KEY, len(BYTES), lambda: True):
        pass
    assert list(remote.config.scratch_dir.iterdir()) == []


def test_a_worker_without_room_says_so_and_tries_again(remote: Services) -> None:
    with scratch.source(remote, KEY, len(BYTES), never) as idle:
        pass
    remote.store.put("other", BYTES, type="video/mp4")
    with pytest.raises(TaskFailed, match="MiB left") as refusal, scratch.source(remote, "other", 1 << 60, never):
        pass
    assert refusal.value.code == "scratch_full" and refusal.value.retryable
    assert not idle.exists(), "its room was needed"


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
