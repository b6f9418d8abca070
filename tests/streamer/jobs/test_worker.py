import os
import signal
import time
from pathlib import Path

import pytest

from streamer import db
from streamer.jobs import jobs, progress, queues
from streamer.services import Services
from tests.streamer.jobs.processes import (
    Trace,
    is_alive,
    kill,
    process,
    row,
    start,
    wait_for_state,
)
from tests.streamer.stack import wait_for

# What these show has nothing to do with the kind of database, and each starts processes.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(tmp_path / "trace")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@on_sqlite
def test_a_job_runs_once_and_its_progress_is_seen_meanwhile(services: Services, trace: Trace, log: Path) -> None:
    with process("worker", services.config, log):
        job = start(services, trace, steps=20)
        seen = wait_for(lambda: progress.read(services.kv_sync, [job.id]))[job.id]
        assert (seen.stage, seen.eta_s, seen.speed) == ("encoding", 1, 2)
        done = wait_for_state(services, job, "succeeded")
    assert trace.lines.count("published") == 1
    assert len(trace.steps) == 20
    assert (done.attempt, done.fence, done.lease_owner) == (1, 1, None)


def test_killing_the_worker_kills_the_horse_and_its_child_and_another_worker_goes_on(
    services: Services, trace: Trace, log: Path
) -> None:
    with process("scheduler", services.config, log):
        with process("worker", services.config, log) as first:
            job = start(services, trace, steps=40)
            wait_for(lambda: len(trace.steps) > 5)
            kill(first.pid)
            killed_at = time.monotonic()
            horse, child, *_ = trace.begins[0]
            wait_for(lambda: not is_alive(horse) and not is_alive(child), timeout_s=2)
        done_before = len(trace.steps)
        with process("worker", services.config, log):
            wait_for(lambda: len(trace.begins) == 2)
            assert time.monotonic() - killed_at < services.config.jobs.lease_s + 25  # of a busy machine
            done = wait_for_state(services, job, "succeeded")
    assert 5 < done_before < 40
    assert len(trace.steps) == len(set(trace.steps)) == 40, "a finished step was repeated"
    assert trace.lines.count("published") == 1
    assert (done.attempt, done.lost) == (1, 1)


def test_a_crash_of_the_horse_is_known_at_once(services: Services, trace: Trace, log: Path) -> None:
    with process("worker", services.config, log):
        job = start(services, trace, steps=40)
        wait_for(lambda: trace.steps)
        kill(trace.begins[0][0])
        killed_at = time.monotonic()
        wait_for(lambda: len(trace.begins) == 2)
        assert time.monotonic() - killed_at < services.config.jobs.lease_s
        wait_for_state(services, job, "succeeded")
    assert trace.lines.count("published") == 1


@pytest.mark.parametrize("mode", ["", "deaf"])
def test_a_cancel_stops_the_work_within_2_s_even_if_it_does_not_listen(
    services: Services, trace: Trace, log: Path, mode: str
) -> None:
    with process("worker", services.config, log) as worker:
        job = start(services, trace, steps=400, mode=mode)
        wait_for(lambda: trace.steps)
        asked_at = time.monotonic()
        with db.session(services) as s:
            jobs.cancel(s, job.id)
        wait_for_state(services, job, "cancelled")
        horse, *_ = trace.begins[0]
        wait_for(lambda: not is_alive(horse))
        assert time.monotonic() - asked_at < 2
        again = start(services, Trace(trace.path.with_name("second")))
        wait_for_state(services, again, "succeeded")
        assert worker.poll() is None
    assert "published" not in trace.lines


def test_a_worker_that_is_asked_to_leave_gives_its_job_back(services: Services, trace: Trace, log: Path) -> None:
    with process("worker", services.config, log) as first:
        job = start(services, trace, steps=60)
        wait_for(lambda: trace.steps)
        first.send_signal(signal.SIGTERM)
        assert first.wait(5) == 0
    assert row(services, job).state == "queued"
    with process("worker", services.config, log):
        done = wait_for_state(services, job, "succeeded")
    assert (done.attempt, done.lost, len(trace.steps)) == (1, 0, 60)
    assert len(trace.begins) == 2


@on_sqlite
def test_an_idle_worker_leaves_when_asked(services: Services, trace: Trace, log: Path) -> None:
    with process("worker", services.config, log) as worker:
        wait_for_state(services, start(services, trace), "succeeded")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(5) == 0


@on_sqlite
def test_a_job_that_was_pushed_many_times_to_many_workers_runs_once(
    services: Services, trace: Trace, log: Path
) -> None:
    job = start(services, trace, steps=10)
    for _ in range(5):
        queues.dispatch(services, [job])
    with process("worker", services.config, log), process("worker", services.config, log):
        wait_for_state(services, job, "succeeded")
        wait_for(lambda: services.kv_sync.llen("rq:queue:streamer") == 0)
    assert len(trace.begins) == 1


@on_sqlite
def test_redis_forgets_everything_and_the_job_runs_all_the_same(services: Services, trace: Trace, log: Path) -> None:
    job = start(services, trace)
    services.kv_sync.flushall()
    with process("scheduler", services.config, log), process("worker", services.config, log):
        wait_for_state(services, job, "succeeded")


@on_sqlite
def test_redis_forgets_everything_in_the_middle_of_a_job(services: Services, trace: Trace, log: Path) -> None:
    with process("scheduler", services.config, log), process("worker", services.config, log):
        job = start(services, trace, steps=40)
        wait_for(lambda: trace.steps)
        services.kv_sync.flushall()
        wait_for_state(services, job, "succeeded")
        again = start(services, Trace(trace.path.with_name("second")))
        wait_for_state(services, again, "succeeded")
    assert len(trace.begins) == 1


@on_sqlite
def test_a_bug_is_retried_with_pauses_and_then_given_up(services: Services, trace: Trace, log: Path) -> None:
    with process("scheduler", services.config, log), process("worker", services.config, log):
        job = start(services, trace, mode="raise")
        done = wait_for_state(services, job, "failed")
    assert [attempt for _, _, attempt, _ in trace.begins] == [1, 2, 3]
    assert done.error is not None
    assert (done.error["code"], done.error["attempt"]) == ("internal", 3)
    assert "a bug" in log.read_text()


@on_sqlite
def test_what_cannot_be_helped_ends_at_the_first_try(services: Services, trace: Trace, log: Path) -> None:
    with process("worker", services.config, log):
        job = start(services, trace, mode="refuse")
        done = wait_for_state(services, job, "failed")
    assert done.error is not None and done.error["detail"] == "This never works."
    assert len(trace.begins) == 1


def test_a_stale_horse_that_wakes_up_publishes_nothing(services: Services, trace: Trace, log: Path) -> None:
    with process("worker", services.config, log) as sleeper:
        job = start(services, trace, steps=30)
        wait_for(lambda: trace.steps)
        horse = trace.begins[0][0]
        for pid in (sleeper.pid, horse):
            os.kill(pid, signal.SIGSTOP)
        with process("scheduler", services.config, log), process("worker", services.config, log):
            wait_for_state(services, job, "succeeded")
            for pid in (horse, sleeper.pid):
                os.kill(pid, signal.SIGCONT)
            wait_for(lambda: not is_alive(horse))
    assert trace.lines.count("published") == 1
    assert row(services, job).state == "succeeded"
