"""Kills, cancels and races in the middle of real encodes: finished chunks stay, nothing partial is visible, no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest

from packager import pipeline
from packager.attempt import finished_chunks
from packager.check import check
from packager.errors import Cancelled, EncodeFailed
from packager.pipeline import Options, Package
from storage.local import LocalStore
from tests.packager import films
from tests.packager.films import Film, Sound
from tests.packager.processes import alive, children, sandboxes, wait_until

CHUNKED = Options(segments_per_chunk=1)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """At ten frames a second: two chunks of the command's usual size, the first one segment long, or five of one segment each."""
    folder = tmp_path_factory.mktemp("film")
    return films.make(
        folder / "film.mp4", Film(seconds=28, rate=Fraction(10), size=(480, 270), sounds=(Sound(seconds=28),))
    )


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    wait_until(lambda: children() <= before, what="children to be gone")


def segments(folder: Path) -> dict[Path, int]:
    """Stored segments and when they were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.m4s")}


def indexed(folder: Path) -> dict[Path, int]:
    """The segments that finished chunks name, and the indexes themselves."""
    store = LocalStore(folder.parent)
    found = finished_chunks(store, folder.name).values()
    paths = [folder / index.rendition / entry.uri for index in found for entry in index.segments]
    paths += [folder / index.rendition / f"{index.chunk:04d}.json" for index in found]
    return {path: path.stat().st_mtime_ns for path in paths}


def assert_whole(folder: Path) -> None:
    broken = [finding for finding in check(str(folder)).findings if finding.severity == "must"]
    assert not broken, broken
    assert set(segments(folder)) <= set(indexed(folder)), "nothing is left of attempts that were killed or lost"


def test_a_command_killed_after_a_chunk_goes_on_where_it_was(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "packager.cli", "encode", str(film), str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        rungs = {"v270", "v234"}
        wait_until(
            lambda: {p.parent.name[:4] for p in out.glob("v*/0000.json")} >= rungs or process.poll() is not None, 60
        )
        assert process.poll() is None
        wait_until(lambda: children(process.pid), what="the next chunk's child")
        grandchildren = children(process.pid)
        process.kill()
    wait_until(lambda: not any(map(alive, grandchildren)), 5, "the command's children to be gone")
    assert not (out / "master.m3u8").exists()
    kept = indexed(out)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {path: mtime for path, mtime in indexed(out).items() if path in kept} == kept, "finished chunks were touched"
    assert len(indexed(out)) > len(kept)
    assert_whole(out)


def test_a_killed_child_is_one_failed_encode_and_the_next_goes_on(film: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(pipeline.encode, film, store, "out", options=CHUNKED)
        wait_until(lambda: list(tmp_path.glob("out/v270*/0001.json")) or work.done(), 60, "a chunk")
        assert not work.done()
        os.kill(_child_at_the_picture(work), signal.SIGKILL)
        with pytest.raises(EncodeFailed) as caught:
            work.result(60)
    assert caught.value.retryable and caught.value.code == "decoder_crashed"
    assert not (tmp_path / "out" / "master.m3u8").exists()
    kept = indexed(tmp_path / "out")
    assert set(segments(tmp_path / "out")) <= set(kept), "the failed attempt cleaned up"
    pipeline.encode(film, store, "out", options=CHUNKED)
    assert {path: mtime for path, mtime in indexed(tmp_path / "out").items() if path in kept} == kept
    assert_whole(tmp_path / "out")


def _child_at_the_picture(work: Future[Package]) -> int:
    """A child process that is told to make a chunk; the busiest one, since they look alike from outside."""

    found: list[int] = []

    def looked() -> bool:
        times = {pid: _cpu(pid) for pid in sandboxes()}
        found[:] = sorted(times, key=lambda pid: -times[pid])[:1]
        return bool(found) or work.done()

    wait_until(looked, 30, "a child")
    return found[0]


def _cpu(pid: int) -> int:
    try:
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    except (FileNotFoundError, ProcessLookupError):
        return -1


def test_two_encodes_into_one_place_agree_on_one_winner_for_each_chunk(tmp_path: Path) -> None:
    film = films.make(tmp_path / "film.mp4", Film(seconds=20, rate=Fraction(10), sounds=(Sound(seconds=20),)))
    together = threading.Barrier(2)

    def encode() -> Package:
        together.wait()
        return pipeline.encode(film, LocalStore(tmp_path), "out", options=CHUNKED)

    with ThreadPoolExecutor(2) as pool:
        first, second = (work.result(120) for work in [pool.submit(encode), pool.submit(encode)])
    assert first == second
    assert_whole(tmp_path / "out")


def test_a_cancelled_encode_ends_within_two_seconds(film: Path, tmp_path: Path) -> None:
    asked = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(pipeline.encode, film, LocalStore(tmp_path), "out", cancelled=asked.is_set, options=CHUNKED)
        wait_until(lambda: list(tmp_path.glob("out/v270*/0000.json")) or work.done(), 60, "a chunk")
        asked.set()
        began = time.monotonic()
        with pytest.raises(Cancelled):
            work.result(10)
    assert time.monotonic() - began < 2 and not sandboxes()
    assert not (tmp_path / "out" / "master.m3u8").exists()
    assert set(segments(tmp_path / "out")) <= set(indexed(tmp_path / "out"))


@pytest.mark.parametrize("stage", ["probing", "encoding"])
def test_a_cancel_at_any_stage_is_obeyed(stage: str, tmp_path: Path) -> None:
    film = films.make(tmp_path / "film.mp4", Film(seconds=7))
    seen: list[str] = []
    with pytest.raises(Cancelled):
        pipeline.encode(
            film, LocalStore(tmp_path), "out", report=lambda p: seen.append(p.stage), cancelled=lambda: stage in seen
        )
    assert not (tmp_path / "out" / "master.m3u8").exists()


def test_every_thread_of_a_working_child_is_locked_down(film: Path, tmp_path: Path) -> None:
    asked = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(pipeline.encode, film, LocalStore(tmp_path), "out", cancelled=asked.is_set, options=CHUNKED)
        try:
            wait_until(lambda: any(_threads(pid) > 4 for pid in sandboxes()) or work.done(), 60, "a child with threads")
            pid = max(sandboxes(), key=_threads)
            states = [
                line.split()[1]
                for status in Path(f"/proc/{pid}/task").glob("*/status")
                for line in status.read_text().splitlines()
                if line.startswith(("Seccomp:", "NoNewPrivs:"))
            ]
        finally:
            asked.set()
            work.exception(30)
    assert len(states) > 8 and set(states) == {"1", "2"}, "NoNewPrivs 1 and Seccomp 2 (a filter), everywhere"


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return 0
