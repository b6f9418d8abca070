"""Files of this machine as films of a server elsewhere: `streamer import --url`."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import delete, select

from streamer import db
from streamer.catalog.tables import Policy, Version
from streamer.errors import Forbidden, Invalid, Unavailable
from streamer.ingest import away, batch, files, sender
from streamer.ingest.batch import Batch
from streamer.ingest.sender import Refused
from streamer.ingest.tables import TusUpload, Upload
from tests.line import BreakingLine
from tests.servers import ROOT, free_port
from tests.streamer.site_under_test import Site

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command remembers what it sent."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "PAUSES_S", (0.0, 0.01, 0.05, 0.2))


def film(folder: Path, name: str, size: int = 100_000) -> Path:
    path = folder / "films" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def key(site: Site, role: str = "editor", **more: Any) -> str:
    return str(site.as_(role, **more).headers["authorization"]).removeprefix("Bearer ")


def bring(site: Site, *paths: Path, url: str = "") -> tuple[bool, list[str]]:
    lines: list[str] = []
    there = away.connect(url or site.base, key(site), Policy.PUBLIC)
    return Batch(there.bring_in, lines.append).run(batch.spread(paths)), lines


def rows(site: Site) -> list[Upload]:
    with db.reading(site.services) as s:
        return list(s.scalars(select(Upload).order_by(Upload.id)))


def test_files_become_films_there_and_are_known_when_they_come_again(site: Site, tmp_path: Path, state: Path) -> None:
    one, two = film(tmp_path, "one.mp4"), film(tmp_path, "two.mp4")
    assert bring(site, tmp_path / "films")[0]
    assert [(row.state, row.sha256) for row in rows(site)] == [
        ("received", hashlib.sha256(path.read_bytes()).hexdigest()) for path in (one, two)
    ]
    films = site.as_("editor").get("/assets").json()["data"]
    assert {one["title"] for one in films} == {"one", "two"} and films[0]["playback_ids"][0]["policy"] == "public"
    went_well, lines = bring(site, one, two)
    assert went_well and lines[-1] == "2 skipped" and len(rows(site)) == 2, "nothing was sent"
    assert sorted(path.name for path in (tmp_path / "films").iterdir()) == ["one.mp4", "two.mp4"]
    assert [path.name for path in state.rglob("*") if path.is_file()] == ["sent.db"]
    copy = film(tmp_path, "copy.mp4")
    copy.write_bytes(two.read_bytes())
    assert 'it is the film "two" already' in bring(site, copy)[1][0]
    assert [row.state for row in rows(site)] == ["received", "received", "failed"], "it was dropped there again"
    with db.session(site.services) as s:
        s.execute(delete(TusUpload))
        version = s.scalars(select(Version).order_by(Version.id)).first()
        assert version is not None
        version.processing = "errored"
    assert "whose encode failed" in bring(site, one)[1][0]
    site.as_("editor").delete(f"/assets/{version.asset_id}")
    assert bring(site, one)[1][-1] == "1 imported", "it was deleted there"


def test_a_line_that_breaks_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    path = film(tmp_path, "film.mp4", 6_000_000)
    with BreakingLine(urlsplit(site.base).port or 0, cut_after=(1_000_000, 3_000_000)) as line:
        went_well, lines = bring(site, path, url=line.url)
    assert went_well and line.breaks, lines
    (upload,) = rows(site)
    assert (upload.state, upload.sha256) == ("received", hashlib.sha256(path.read_bytes()).hexdigest())


def test_an_interrupted_one_goes_on_where_it_stopped_and_one_that_changed_begins_anew(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path, "film.mp4", 5_000_000)
    seen: list[int] = []

    def pressed(path: Path, tell: object) -> files.Look:
        def look(done: int, size: int) -> None:
            seen.append(done)
            if len(seen) == 3:
                raise KeyboardInterrupt

        return look

    monkeypatch.setattr(sender, "_PIECE", 1 << 20)
    monkeypatch.setattr(batch, "marks", pressed)
    assert bring(site, path)[1][-1] == "1 interrupted"
    (upload,) = rows(site)
    assert bring(site, path)[0] and seen[3] > seen[1], "what is there is not sent again"
    assert [row.id for row in rows(site)] == [upload.id]
    seen.clear()
    path.write_bytes(other := os.urandom(5_000_000))
    assert bring(site, path)[1][-1] == "1 interrupted"
    path.write_bytes(other[::-1])
    assert bring(site, path)[0]
    assert rows(site)[-1].sha256 == hashlib.sha256(other[::-1]).hexdigest()


def test_a_file_that_changes_while_it_is_sent_is_no_film(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path, "film.mp4", 3_000_000)
    monkeypatch.setattr(sender, "_PIECE", 1 << 20)
    monkeypatch.setattr(batch, "marks", lambda path, tell: lambda done, size: os.utime(path))
    went_well, lines = bring(site, path)
    assert not went_well and "changed while it was sent" in lines[0]
    assert [row.state for row in rows(site)] == ["receiving"]


def test_refusals_are_told_in_the_servers_words_and_stop_no_other_file(site: Site, tmp_path: Path) -> None:
    empty, good = film(tmp_path, "a.mp4", 0), film(tmp_path, "b.mp4")
    went_well, lines = bring(site, empty, tmp_path / "none.mp4", good)
    assert not went_well and lines[-1] == "1 imported, 2 failed"
    assert "The file is empty" in lines[0] and "No such file" in lines[1]


def test_a_server_or_a_key_that_will_not_do_is_told_at_once(site: Site) -> None:
    wrong: list[tuple[str, str, type[Exception], str]] = [
        (f"http://127.0.0.1:{free_port()}", "x", Unavailable, "does not answer"),
        ("films.example.org", "x", Invalid, "not the address of a server"),
        (site.base, "wrong", Refused, "does not know this key"),
        (site.base, key(site, scopes=("assets:read",)), Forbidden, "may not upload"),
        (f"{site.base}/elsewhere", key(site), Refused, "There is no Streamer"),
    ]
    for url, secret, error, words in wrong:
        with pytest.raises(error, match=words):
            away.connect(url, secret, Policy.PRIVATE)


@pytest.fixture
def command(site: Site) -> Iterator[list[str]]:
    yield [sys.executable, "-m", "streamer", "import", "--url", site.base]


def test_the_command_takes_its_key_from_the_environment_and_ends_with_a_code(
    site: Site, command: list[str], tmp_path: Path
) -> None:
    path = film(tmp_path, "film.mp4")

    def run(*more: str, **env: str) -> "subprocess.CompletedProcess[str]":
        told = {**os.environ, **env}
        return subprocess.run([*command, *more], cwd=ROOT, env=told, capture_output=True, text=True, timeout=60)

    done = run(str(path), "--title", "Mine", STREAMER_API_KEY=key(site))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 imported"), done.stderr
    assert site.as_("editor").get("/assets").json()["data"][0]["title"] == "Mine"
    assert run(str(path), str(tmp_path / "none.mp4"), "--key", key(site)).returncode == 1
    alone = run(str(path))
    assert (alone.returncode, alone.stdout) == (1, "") and "--url needs --key" in alone.stderr
