"""Films from this machine's disks, as an operator brings them in."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from storage import StorageDown
from streamer import db
from streamer.accounts import users
from streamer.catalog.tables import Asset, Policy, Version
from streamer.errors import Forbidden, Invalid
from streamer.ingest import batch, files
from streamer.ingest.batch import Batch
from streamer.ingest.tables import Upload
from streamer.services import Services
from tests.servers import ROOT
from tests.streamer.jobs.processes import environment
from tests.streamer.stack import wait_for

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def person(services: Services, name: str, role: str = "editor") -> str:
    email = f"{name}@example.org"
    with db.session(services) as s:
        made = users.create(s, services.config.accounts, email=email, name=name, role=role, password="a good one")
    return made.id


@pytest.fixture
def ada(services: Services) -> str:
    return person(services, "ada")


def film(folder: Path, name: str, size: int = 100_000) -> Path:
    path = folder / "films" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def bring(services: Services, owner: str, *paths: Path) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return Batch(batch.here(services, owner, Policy.PRIVATE), lines.append).run(batch.spread(paths)), lines


def titles(services: Services) -> list[str]:
    with db.reading(services) as s:
        return list(s.scalars(select(Asset.title).order_by(Asset.id)))


def test_files_become_films_and_are_known_when_they_come_again(services: Services, ada: str, tmp_path: Path) -> None:
    one, two = film(tmp_path, "one.mp4"), film(tmp_path, "sub/two.mkv")
    film(tmp_path, ".hidden.mp4"), film(tmp_path, "half.mp4.part"), film(tmp_path, ".trash/x.mp4")
    went_well, lines = bring(services, ada, tmp_path / "films")
    assert went_well and lines[-1] == "2 imported"
    assert titles(services) == ["one", "two"]
    with db.reading(services) as s:
        version = s.scalars(select(Version).order_by(Version.id)).first()
        upload = s.scalars(select(Upload).order_by(Upload.id)).first()
    assert version and upload and version.source_sha256 == hashlib.sha256(one.read_bytes()).hexdigest()
    assert services.store.read(version.source_key) == one.read_bytes()
    assert (upload.state, upload.received, upload.user_id) == ("received", 100_000, ada)
    copy = film(tmp_path, "again.mov")
    copy.write_bytes(two.read_bytes())
    went_well, lines = bring(services, ada, one, copy)
    assert went_well and lines[-1] == "2 skipped"
    assert f'{copy}: skipped, it is the film "two" already (ast_' in lines[1]
    with db.session(services) as s:
        for version in s.scalars(select(Version)):
            version.processing = "errored"
    assert "already, whose encode failed" in bring(services, ada, one)[1][0], (
        "it would be another failed film each time"
    )
    assert bring(services, person(services, "bob"), one)[1][-1] == "1 imported", "films of others are not asked for"


@SQLITE
def test_one_that_fails_stops_no_other_and_is_counted(services: Services, ada: str, tmp_path: Path) -> None:
    empty, good = film(tmp_path, "empty.mp4", 0), film(tmp_path, "good.mp4")
    os.mkfifo(pipe := tmp_path / "pipe.mp4")
    went_well, lines = bring(services, ada, empty, tmp_path / "none.mp4", pipe, good)
    assert not went_well and lines[-1] == "1 imported, 3 failed"
    assert lines[0] == f"{empty}: failed: The file is empty. Choose the film itself and send it again."
    assert "No such file" in lines[1] and "not a file" in lines[2]


@SQLITE
def test_a_storage_that_fails_leaves_a_reason_and_no_film(
    services: Services, ada: str, tmp_path: Path, monkeypatch: Any
) -> None:
    def down(*_: object, **__: object) -> None:
        raise StorageDown("not today")

    path = film(tmp_path, "film.mp4")
    with monkeypatch.context() as broken:
        broken.setattr(type(services.store), "put", down)
        went_well, lines = bring(services, ada, path)
    assert not went_well and "not today" in lines[0]
    with db.reading(services) as s:
        assert s.scalars(select(Upload.state)).all() == ["failed"]
    assert bring(services, ada, path)[0] and titles(services) == ["film"]


@SQLITE
def test_an_interrupted_batch_ends_with_a_summary_and_goes_on(
    services: Services, ada: str, tmp_path: Path, monkeypatch: Any
) -> None:
    paths = [film(tmp_path, f"{n}.mp4", 5_000_000 + n) for n in range(2)]

    def pressed(path: Path, tell: object) -> files.Look:
        def look(done: int, size: int) -> None:
            if path == paths[1] and done > 1_000_000:
                raise KeyboardInterrupt

        return look

    with monkeypatch.context() as hasty:
        hasty.setattr(batch, "marks", pressed)
        went_well, lines = bring(services, ada, *paths)
    assert not went_well and lines[-2:] == ["Interrupted: start it again and it goes on.", "1 imported, 1 interrupted"]
    with db.reading(services) as s:
        assert [row.error for row in s.scalars(select(Upload).where(Upload.state == "failed"))] == [files._INTERRUPTED]
    assert bring(services, ada, *paths)[1][-1] == "1 imported, 1 skipped"


def test_two_that_bring_the_same_bytes_at_once_make_one_film(services: Services, ada: str, tmp_path: Path) -> None:
    path, gate = film(tmp_path, "film.mp4"), threading.Barrier(2)
    results: list[files.Brought] = []

    def bring_in() -> None:
        results.append(files.bring_in(services, ada, path, Policy.PRIVATE, check=lambda _: gate.wait(10)))

    threads = [threading.Thread(target=bring_in) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(one.is_new for one in results) == [False, True]
    assert len({one.asset_id for one in results}) == 1 and titles(services) == ["film"]
    assert len(list(services.store.list("sources/"))) == 1


@SQLITE
def test_a_file_that_changes_while_it_is_read_is_not_taken(services: Services, ada: str, tmp_path: Path) -> None:
    path = film(tmp_path, "film.mp4", 3_000_000)

    def look(done: int, size: int) -> None:
        os.utime(path, ns=(1, done))

    with pytest.raises(Exception, match="changed while it was read"):
        files.bring_in(services, ada, path, Policy.PRIVATE, look=look)
    assert titles(services) == [] and list(services.store.list("")) == []


@SQLITE
def test_whose_films_they_are_is_said_or_plain(services: Services) -> None:
    with db.reading(services) as s, pytest.raises(Invalid, match="0 accounts"):
        batch.owner(s, None)
    ada, _ = person(services, "ada"), person(services, "vera", "viewer")
    with db.reading(services) as s:
        assert batch.owner(s, None).id == ada == batch.owner(s, "ada@example.org").id
        with pytest.raises(Forbidden, match="viewer"):
            batch.owner(s, "vera")
    person(services, "bob")
    with db.reading(services) as s, pytest.raises(Invalid, match="2 accounts"):
        batch.owner(s, None)


@SQLITE
def test_the_command_is_killed_in_the_middle_and_started_again(services: Services, ada: str, tmp_path: Path) -> None:
    small, large = film(tmp_path, "a small one.mp4"), film(tmp_path, "large.mp4")
    os.truncate(large, 80_000_000)
    command = [sys.executable, "-m", "streamer", "import", str(small), str(large), "--policy", "public"]
    env = environment(services.config)
    first = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: len(_states(services)) == 2)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert _states(services) == ["received", "receiving"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1 imported, 1 skipped"
    assert titles(services) == ["a small one", "large"]
    wrong = subprocess.run([*command, "--title", "x"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "streamer: --title is for a single file; give several their titles one by one.\n",
    )


def _states(services: Services) -> list[str]:
    with db.reading(services) as s:
        return list(s.scalars(select(Upload.state).order_by(Upload.id)))
