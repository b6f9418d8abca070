"""A watched folder: what is taken, when, and where it goes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from storage import StorageDown
from streamer import db
from streamer.accounts import users
from streamer.catalog.tables import Asset
from streamer.ingest import files, folders, watch
from streamer.ingest.watch import Rules, Watch
from streamer.services import Services
from tests.packager import films
from tests.packager.films import Film
from tests.servers import ROOT
from tests.streamer.jobs.processes import environment
from tests.streamer.stack import wait_for

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
QUICK = Rules(settle_s=0.2, every_s=0.02)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return films.make(tmp_path_factory.mktemp("film") / "film.mp4", Film(seconds=0.5, sounds=())).read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def watching(services: Services, folder: Path, lines: list[str]) -> Watch:
    with db.session(services) as s:
        account = {"email": "ada@example.org", "name": "Ada", "role": "editor", "password": "a good one"}
        ada = users.create(s, services.config.accounts, **account)
    return Watch(services, ada.id, folder, QUICK, lines.append)


def settled(watching: Watch) -> int:
    """What a look takes after all has stood still for long enough."""
    watching.look()
    time.sleep(watching.rules.settle_s + 0.05)
    return watching.look()


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def count(services: Services) -> int:
    with db.reading(services) as s:
        return s.scalars(select(func.count()).select_from(Asset)).one()


def test_films_are_imported_and_moved_and_what_is_none_is_told_why(
    watching: Watch, folder: Path, film: bytes, lines: list[str]
) -> None:
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/film.mp4").write_bytes(film)
    (folder / "notes.txt").write_text("no film")
    (folder / "empty.mp4").touch()
    for ignored in (".hidden.mp4", "film.mp4.part", "x.crdownload", "y.tmp", "~$z.mp4", "z.mp4~"):
        (folder / ignored).write_bytes(film)
    (folder / "link.mp4").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.mp4")
    assert watching.look() == 0, "nothing has stood still for long enough"
    assert settled(watching) == 3 and settled(watching) == 0
    moved = [name for name in tree(folder) if name.startswith(("done", "failed"))]
    assert moved == [
        "done/a/b/film.mp4",
        "failed/empty.mp4",
        "failed/empty.mp4.txt",
        "failed/notes.txt",
        "failed/notes.txt.txt",
    ]
    assert "No supported container" in (folder / "failed/notes.txt.txt").read_text()
    assert "empty" in (folder / "failed/empty.mp4.txt").read_text()
    assert count(watching.services) == 1 and lines[2].startswith("a/b/film.mp4: imported as ast_")


def test_a_file_is_not_taken_while_it_grows_or_somebody_writes_it(watching: Watch, folder: Path, film: bytes) -> None:
    path = folder / "film.mp4"
    with path.open("wb") as file:
        file.write(film[:1000])
        file.flush()
        assert settled(watching) == 0, "somebody has it open for writing"
        assert watch.is_being_written(path)
        with path.open("rb"):
            file.write(film[1000:])
    with path.open("rb"):
        assert not watch.is_being_written(path)
        assert watching.look() == 0, "it has just grown"
        assert settled(watching) == 1
    assert tree(folder) == ["done/film.mp4"]


def test_nothing_is_taken_twice_though_it_was_killed_before_it_could_move_it(
    watching: Watch, folder: Path, film: bytes, lines: list[str]
) -> None:
    def killed(path: Path, target: Path) -> Path:
        raise SystemExit

    (folder / "film.mp4").write_bytes(film)
    with pytest.MonkeyPatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(watch, "move", killed)
        settled(watching)
    assert tree(folder) == ["film.mp4"] and count(watching.services) == 1
    again = Watch(watching.services, watching.user_id, folder, QUICK, lines.append)
    assert settled(again) == 1
    assert tree(folder) == ["done/film.mp4"] and count(watching.services) == 1
    (folder / "film.mp4").write_bytes(film + b"\0")
    settled(again)
    assert tree(folder) == ["done/film (2).mp4", "done/film.mp4"], "a new film under an old name replaces nothing"


def test_files_can_be_left_where_they_are(watching: Watch, folder: Path, film: bytes, lines: list[str]) -> None:
    watching.rules = Rules(settle_s=0.1, leave=True)
    (folder / "film.mp4").write_bytes(film)
    (folder / "notes.txt").write_text("no film")
    assert (settled(watching), settled(watching)) == (2, 0)
    assert tree(folder) == ["film.mp4", "notes.txt"] and len(lines) == 2


def test_files_that_were_left_are_not_read_again_after_a_restart_unless_they_are_others(
    watching: Watch, folder: Path, film: bytes, lines: list[str], monkeypatch: Any
) -> None:
    read: list[str] = []
    real = files.bring_in

    def noted(services: Services, user_id: str, path: Path, *more: Any, **others: Any) -> Any:
        read.append(path.name)
        return real(services, user_id, path, *more, **others)

    def restarted() -> int:
        rules = Rules(settle_s=0.1, leave=True)
        return settled(Watch(watching.services, watching.user_id, folder, rules, lines.append))

    monkeypatch.setattr(files, "bring_in", noted)
    for name in ("one.mp4", "two.mp4"):
        (folder / name).write_bytes(film + name.encode())
    assert restarted() == 2
    assert restarted() == 0
    (folder / "one.mp4").write_bytes(film + b"one2mp4")
    other = folder / "other.part"
    other.write_bytes(film + b"twoomp4")
    os.utime(other, ns=(1, (folder / "two.mp4").stat().st_mtime_ns))
    other.rename(folder / "two.mp4")
    assert restarted() == 2
    assert sorted(read) == ["one.mp4", "one.mp4", "two.mp4", "two.mp4"]
    (watching.services.config.data.dir / "watched.db").unlink()
    assert restarted() == 2 and count(watching.services) == 4, "without its memory it reads, and takes nothing twice"
    assert tree(folder) == ["one.mp4", "two.mp4"]


def test_trouble_of_ours_makes_a_file_wait(
    watching: Watch, folder: Path, film: bytes, lines: list[str], monkeypatch: Any
) -> None:
    def down(*_: object, **__: object) -> None:
        raise StorageDown("not today")

    (folder / "film.mp4").write_bytes(film)
    with monkeypatch.context() as broken:
        broken.setattr(type(watching.services.store), "put", down)
        broken.setattr(watch, "_LATER_S", 0.2)
        assert settled(watching) == 1 and watching.look() == 0
    assert "it has to wait" in lines[0] and tree(folder) == ["film.mp4"]
    time.sleep(0.5)
    assert watching.look() == 1 and tree(folder) == ["done/film.mp4"]


@pytest.fixture
def process(services: Services, watching: Watch, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    options = ["--settle", "0.2", "--every", "0.05", "--user", "ada@example.org"]
    command = [sys.executable, "-u", "-m", "streamer", "watch", str(folder), *options]
    running = subprocess.Popen(command, cwd=ROOT, env=environment(services.config), stdout=subprocess.PIPE, text=True)
    with running:
        yield running
        running.kill()


def test_the_command_takes_what_appears_and_ends_cleanly_when_told(
    process: "subprocess.Popen[str]", services: Services, folder: Path, film: bytes
) -> None:
    assert process.stdout and process.stdout.readline() == f"Watching {folder} for films of ada@example.org.\n"
    (folder / "late.mp4").write_bytes(film)
    wait_for(lambda: tree(folder) == ["done/late.mp4"])
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert count(services) == 1 and process.stdout.read().count("\n") == 1


@pytest.mark.parametrize(("name", "taken"), [("a.MP4", True), ("a.mp4.PART", False), ("part.mp4", True), (".a", False)])
def test_names_tell_what_is_unfinished(database_url: str, name: str, taken: bool) -> None:
    assert folders.is_finished(name) is taken
