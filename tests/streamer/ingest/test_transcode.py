"""From an upload to a film that plays, on both stacks: SQLite with files, MariaDB with SeaweedFS. Valkey and workers are real."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from packager.check import check
from packager.errors import SourceRefused
from packager.stages import Published
from storage import ObjectStore
from streamer import db
from streamer.catalog import assets
from streamer.catalog.tables import Asset
from streamer.config import Config
from streamer.ingest import transcode
from streamer.jobs import jobs, steps
from streamer.jobs.runner import Task, perform
from tests.packager import films
from tests.packager.films import Film
from tests.servers import ROOT, die_with_parent
from tests.streamer.jobs.processes import Process, environment, is_alive, kill
from tests.streamer.site_under_test import Site
from tests.streamer.stack import empty_tables, make_config, wait_for
from tests.whole import make_film

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["embedded", "grown"])
def config(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Config:
    """Both ways to run the product."""
    embedded = request.param == "embedded"
    database = empty_tables(request, "sqlite" if embedded else "mariadb", tmp_path)
    storage = "" if embedded else request.getfixturevalue("s3_url")
    quick = {"lease_s": 3.0, "heartbeat_s": 0.5, "sweep_s": 0.5, "backoff_s": 0.3}
    return make_config(
        tmp_path, database=database, redis=redis_url, storage=storage, jobs=quick, ingest={"min_free_bytes": 0}
    )


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two chunks of half a minute, cheap to encode."""
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4", seconds=45, size="416x234").read_bytes()


@contextmanager
def running(role: str, config: Config) -> Iterator[Process]:
    """`streamer worker` or `streamer scheduler`."""
    command = [sys.executable, "-m", "streamer", role]
    with (config.data.dir / f"{role}.log").open("ab") as log:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment(config), stdout=log, stderr=log, preexec_fn=die_with_parent
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def upload(site: Site, content: bytes, name: str = "film.mp4") -> str:
    answer = site.as_("editor").post(f"/uploads?filename={name}", content=content)
    assert answer.status_code == 201, answer.text
    asset_id: str = answer.json()["asset"]["id"]
    return asset_id


def asset(site: Site, asset_id: str) -> Any:
    return site.as_("editor").get(f"/assets/{asset_id}").json()


def wait_until(site: Site, asset_id: str, *states: str, timeout_s: float = 90) -> Any:
    def reached() -> Any:
        now = asset(site, asset_id)
        return now if now["processing"] in states else None

    return wait_for(reached, timeout_s)


def indexes(store: ObjectStore, asset_id: str) -> dict[str, str]:
    """The chunk indexes that exist, with their etags."""
    found = [info for info in store.list(f"{asset_id}/") if info.key.rpartition("/")[2].endswith("0.json")]
    return {info.key: info.etag for info in found}


def children(pid: int) -> list[int]:
    """All processes below, as long as they can be asked."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        direct = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid for child in direct for pid in (child, *children(child))]


def test_an_upload_becomes_a_film_that_plays_and_obeys_the_rules(site: Site, film: bytes) -> None:
    services = site.services
    with running("worker", services.config):
        asset_id = upload(site, film)
        seen: list[Any] = []
        wait_for(lambda: seen.append(asset(site, asset_id)) or seen[-1]["processing"] == "ready", 90)
    done = seen[-1]
    assert {one["processing"] for one in seen} >= {"encoding", "ready"}
    assert_grew(seen)
    percents = [one["progress"]["percent"] for one in seen if one["progress"]]
    assert percents == sorted(percents) and len(set(percents)) >= 3
    assert any(one["progress"]["eta_s"] for one in seen if one["progress"])
    assert (done["playable"], done["error"], done["width"], done["height"]) == (True, None, 416, 234)
    assert abs(done["duration_s"] - 45) < 0.1
    renditions = site.as_("editor").get(f"/assets/{asset_id}/renditions").json()["data"]
    assert {one["kind"] for one in renditions} == {"video", "audio"}
    assert all(one["size"] > 0 and one["bandwidth"] >= one["average_bandwidth"] for one in renditions)
    with db.reading(services) as s:
        path = s.get_one(Asset, asset_id).live_version_id
    assert path == done["version_id"]
    assert not list(services.config.scratch_dir.glob("*"))
    assert_obeys_the_rules(services.config, services.store, asset_id)


def assert_grew(seen: list[Any]) -> None:
    """It played before it was whole, and there was ever more of it."""
    order = [None, "start", "grow", "final"]
    shown = [(order.index(one["stage"]), one["available_s"] or 0.0) for one in seen]
    assert shown == sorted(shown)
    early = [one for one in seen if one["processing"] == "encoding" and one["playable"]]
    assert early and {one["stage"] for one in early} <= {"start", "grow"}
    assert all(0 < one["available_s"] <= one["duration_s"] + 0.1 for one in early)


def assert_obeys_the_rules(config: Config, store: ObjectStore, asset_id: str) -> None:
    (master,) = [info.key for info in store.list(f"{asset_id}/") if info.key.endswith("/master.m3u8")]
    folder = config.data.dir / "copy"
    for info in store.list(master.removesuffix("master.m3u8")):
        path = folder / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(info.key))
    report = check(str((folder / master).parent))
    assert [finding for finding in report.findings if finding.severity == "must"] == []


def test_another_worker_resumes_from_the_finished_chunks_of_a_killed_one(site: Site, film: bytes) -> None:
    services = site.services
    with running("scheduler", services.config):
        with running("worker", services.config) as first:
            asset_id = upload(site, film)
            wait_for(lambda: asset(site, asset_id)["playable"], 90)
            below = wait_for(lambda: found if len(found := children(first.pid)) > 1 else [])  # a horse and a decoder
            kill(first.pid)
            killed_at = time.monotonic()
            wait_for(lambda: not any(is_alive(pid) for pid in below), 3)
        finished = indexes(services.store, asset_id)
        assert asset(site, asset_id)["playable"], "what exists plays on without its worker"
        with running("worker", services.config):
            job_id = asset(site, asset_id)["job_id"]
            wait_for(lambda: site.as_("editor").get(f"/jobs/{job_id}").json()["state"] == "running", 30)
            assert time.monotonic() - killed_at < services.config.jobs.lease_s + 10
            done = wait_until(site, asset_id, "ready")
    assert done["playable"]
    after = indexes(services.store, asset_id)
    assert finished.items() <= after.items(), "a finished chunk was made again"
    assert len({key.split("/")[1] for key in after}) == 1, "one version"


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Five runs of chunks, each of which takes a worker a second or two."""
    wanted = Film(seconds=300, rate=Fraction(10), size=(320, 180), sounds=())
    return films.make(tmp_path_factory.mktemp("film") / "long.mp4", wanted).read_bytes()


@pytest.mark.parametrize("config", ["grown"], indirect=True)
def test_workers_share_a_film_and_one_that_dies_costs_only_its_own_step(site: Site, long_film: bytes) -> None:
    services, seen = site.services, set[str]()
    with running("scheduler", services.config), running("worker", services.config), running("worker", services.config):
        with running("worker", services.config) as third:
            asset_id = upload(site, long_film)
            job_id = asset(site, asset_id)["job_id"]

            def shared() -> bool:
                parts = site.as_("editor").get(f"/jobs/{job_id}").json()["steps"]
                seen.update(part["worker"] for part in parts if part["worker"])
                return len(seen) > 1

            wait_for(shared, 90)
            kill(third.pid)
        done = wait_until(site, asset_id, "ready")
    assert done["playable"] and abs(done["duration_s"] - 300) < 0.1
    with db.reading(services) as s:
        assert steps.of(s, job_id) == []
    assert_obeys_the_rules(services.config, services.store, asset_id)


@pytest.mark.parametrize("config", ["embedded"], indirect=True)
def test_a_film_plays_before_a_long_one_that_came_first_is_whole(site: Site, long_film: bytes, film: bytes) -> None:
    with running("worker", site.services.config):
        long = upload(site, long_film)
        wait_for(lambda: asset(site, long)["playable"], 60)
        short = upload(site, film)
        wait_for(lambda: asset(site, short)["playable"], 60)
        assert asset(site, long)["processing"] != "ready"
        wait_until(site, long, "ready")


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"this is no film\n" * 100, "notes.mp4"), (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n", "list.m3u8")],
    ids=["text", "m3u8"],
)
def test_what_is_no_film_ends_in_a_sentence_and_nothing_published(site: Site, content: bytes, name: str) -> None:
    with running("worker", site.services.config):
        asset_id = upload(site, content, name)
        refused = wait_until(site, asset_id, "errored")
    assert refused["error"]["retryable"] is False and refused["error"]["next_retry_at"] is None
    assert refused["error"]["title"] and refused["error"]["detail"].strip()
    assert (refused["playable"], refused["progress"]) == (False, None)
    assert list(site.services.store.list(f"{asset_id}/")) == []
    assert not list(site.services.config.scratch_dir.glob("*"))


def test_a_cancel_stops_the_encoder_within_2_s_and_a_retry_goes_on(site: Site, film: bytes) -> None:
    services, client = site.services, site.as_("editor")
    with running("worker", services.config) as worker:
        asset_id = upload(site, film)
        wait_for(lambda: asset(site, asset_id)["processing"] == "encoding", 60)
        below = wait_for(lambda: children(worker.pid))
        job_id = asset(site, asset_id)["job_id"]
        asked_at = time.monotonic()
        client.post(f"/jobs/{job_id}/cancel")
        wait_for(lambda: not any(is_alive(pid) for pid in below), 5)
        assert time.monotonic() - asked_at < 2
        assert not wait_until(site, asset_id, "cancelled", timeout_s=5)["playable"]
        client.post(f"/jobs/{job_id}/retry")
        assert wait_until(site, asset_id, "ready")["playable"]


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[Callable[[Published], None]], None]]]:
    """What the packager does, as a function of its callback; it ends in a broken film."""
    script: list[Callable[[Callable[[Published], None]], None]] = []

    def encode(*_: object, published: Callable[[Published], None], **__: object) -> None:
        script[0](published)
        raise SourceRefused("broken", "The film is broken", "It ends in the middle.")

    monkeypatch.setattr(transcode, "encode", encode)
    yield script


def news(asset_id: str, stage: str, seconds: float) -> Published:
    return Published(stage, "v1", f"{asset_id}/v1", seconds, 60.0, 640, 360, poster=True)


def test_what_the_packager_publishes_plays_until_it_fails(site: Site, encoder: list[Any]) -> None:
    asset_id = upload(site, b"x" * 100)
    seen: list[Any] = []

    def work(published: Callable[[Published], None]) -> None:
        for stage, seconds in (("start", 6.0), ("start", 36.0), ("grow", 6.0), ("start", 60.0), ("final", 60.0)):
            published(news(asset_id, stage, seconds))
            seen.append(asset(site, asset_id))

    encoder.append(work)
    perform(site.services, asset(site, asset_id)["job_id"], "w1")
    assert [(one["stage"], one["available_s"]) for one in seen] == [
        ("start", 6.0),
        ("start", 6.0),  # said again within a second
        ("grow", 6.0),
        ("grow", 6.0),
        ("grow", 6.0),  # the last stage comes with the end of the job
    ]
    after = asset(site, asset_id)
    assert (after["processing"], after["playable"], after["stage"]) == ("errored", False, None)


def test_a_worker_that_lost_its_job_publishes_nothing(site: Site, encoder: list[Any]) -> None:
    asset_id = upload(site, b"x" * 100)
    job_id = asset(site, asset_id)["job_id"]

    def work(published: Callable[[Published], None]) -> None:
        with db.session(site.services) as s:
            jobs.lost(s, job_id, jobs.get(s, job_id).fence)
        published(news(asset_id, "start", 6.0))

    encoder.append(work)
    perform(site.services, job_id, "w1")
    assert (asset(site, asset_id)["processing"], asset(site, asset_id)["playable"]) == ("queued", False)


def test_a_database_that_is_away_for_a_moment_only_delays_the_news(
    site: Site, encoder: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asset_id = upload(site, b"x" * 100)
    seen: list[Any] = []

    def work(published: Callable[[Published], None]) -> None:
        with monkeypatch.context() as fault:
            fault.setattr(Task, "write", away)
            published(news(asset_id, "start", 6.0))
        seen.append(asset(site, asset_id)["playable"])
        published(news(asset_id, "start", 12.0))
        seen.append(asset(site, asset_id)["available_s"])

    encoder.append(work)
    perform(site.services, asset(site, asset_id)["job_id"], "w1")
    assert seen == [False, 12.0]


def away(*_: object) -> None:
    raise OperationalError("injected", None, Exception())


def test_deleting_a_film_in_mid_encode_leaves_no_object(site: Site, film: bytes) -> None:
    services, client = site.services, site.as_("editor")
    with running("worker", services.config), running("scheduler", services.config):
        asset_id = upload(site, film)
        wait_for(lambda: any(services.store.list(f"{asset_id}/")), 60)
        assert client.delete(f"/assets/{asset_id}").status_code == 202
        assert client.get(f"/assets/{asset_id}").status_code == 404

        def purged() -> bool:
            with db.reading(services) as s:
                return s.get_one(Asset, asset_id).purged_at is not None

        wait_for(purged, 30)
    assert list(services.store.list("")) == []


def test_a_job_on_a_film_that_was_deleted_meanwhile_ends_without_work(site: Site, film: bytes) -> None:
    asset_id = upload(site, film)
    job_id = asset(site, asset_id)["job_id"]
    with db.session(site.services) as s:
        assets.delete(s, s.get_one(Asset, asset_id))
    site.as_("editor").post(f"/jobs/{job_id}/retry")
    with running("worker", site.services.config) as worker:
        wait_for(lambda: site.as_("editor").get(f"/jobs/{job_id}").json()["state"] == "failed", 30)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert site.as_("editor").get(f"/jobs/{job_id}").json()["error"]["code"] == "asset_deleted"
