import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from storage import StorageDown
from streamer import db
from streamer.catalog import assets
from streamer.catalog.tables import Asset, Policy, Version
from streamer.config import Config
from streamer.ingest import leftovers, uploads, wanted
from streamer.ingest.tables import Upload
from streamer.jobs.tables import Job
from streamer.services import Services
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for

FILM = os.urandom(3_000_000)


def post(site: Site, content: Any, **query: str) -> httpx2.Response:
    return site.as_("editor").post("/uploads", params={"filename": "film.mp4", **query}, content=content)


def pieces(*, size: int = 100_000, count: int = 30) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * size


def rows(services: Services) -> list[Upload]:
    with db.reading(services) as s:
        return list(s.scalars(select(Upload)))


def count(services: Services, table: Any) -> int:
    with db.reading(services) as s:
        return s.scalars(select(func.count()).select_from(table)).one()


def nothing_is_left(services: Services) -> None:
    """No bytes, no film, no job."""
    assert list(services.config.uploads_dir.iterdir()) == []
    assert list(services.store.list("")) == []
    assert [count(services, table) for table in (Asset, Version, Job)] == [0, 0, 0]


def test_a_file_becomes_a_source_a_film_and_a_queued_job(site: Site) -> None:
    answer = post(site, FILM, title="Ein Film", filename="Füchse.mp4")
    assert answer.status_code == 201
    got = answer.json()
    asset, upload, job = got["asset"], got["upload"], got["job"]
    assert answer.headers["location"] == f"/api/v1/assets/{asset['id']}"
    assert (asset["title"], asset["processing"], asset["job_id"]) == ("Ein Film", "queued", job["id"])
    assert asset["source"] == {"name": "Füchse.mp4", "size": len(FILM), "sha256": hashlib.sha256(FILM).hexdigest()}
    assert [one["policy"] for one in asset["playback_ids"]] == ["private"]
    assert (upload["state"], upload["received"], upload["asset_id"]) == ("received", len(FILM), asset["id"])
    assert (job["kind"], job["state"], job["subject_id"]) == ("transcode", "queued", asset["version_id"])
    assert site.services.store.read(f"sources/{asset['id']}/{upload['id']}") == FILM
    assert list(site.services.config.uploads_dir.iterdir()) == []
    assert site.services.kv_sync.llen("rq:queue:streamer") == 1
    assert site.as_("editor").get(f"/uploads/{upload['id']}").json() == upload
    assert site.as_("admin").get(f"/uploads/{upload['id']}").status_code == 404


def test_a_body_of_unknown_length_is_taken_too(site: Site) -> None:
    answer = post(site, pieces(), policy="public")
    assert answer.status_code == 201
    assert answer.json()["upload"]["declared_size"] is None
    assert answer.json()["upload"]["received"] == 3_000_000
    assert answer.json()["asset"]["playback_ids"][0]["policy"] == "public"


@pytest.mark.parametrize("content", [b"", iter([])], ids=["declared", "chunked"])
def test_an_empty_file_is_refused_in_words(site: Site, content: Any) -> None:
    answer = post(site, content)
    assert (answer.status_code, answer.json()["code"]) == (400, "empty_file")
    nothing_is_left(site.services)


@pytest.mark.parametrize(
    ("name", "kept", "title"),
    [
        ("../../../etc/cron.d/x.mp4", "x.mp4", "x"),
        ("a\r\nX: y\0\u202e.mp4", "a X: y .mp4", "a X: y"),
        ("<script>alert(1)</script>.mp4", "script>.mp4", "script>"),
        ("x" * 3000 + ".mp4", "x" * 196 + ".mp4", "x" * 196),
        ("", "upload", "upload"),
        ("..", "..", "Untitled film"),
    ],
)
def test_hostile_file_names_are_only_text(site: Site, name: str, kept: str, title: str) -> None:
    answer = post(site, b"bytes", filename=name)
    assert answer.status_code == 201
    assert answer.json()["asset"]["source"]["name"] == kept
    assert answer.json()["asset"]["title"] == title
    keys = [info.key for info in site.services.store.list("")]
    assert keys == [f"sources/{answer.json()['asset']['id']}/{answer.json()['upload']['id']}"]


@pytest.mark.parametrize("query", [{"policy": "x"}, {"title": "x" * 201}, {"title": "\u202e"}])
def test_bad_words_about_the_file_are_refused_before_it_is_read(site: Site, query: dict[str, str]) -> None:
    assert post(site, b"bytes", **query).status_code == 400
    assert rows(site.services) == []


def test_a_form_is_not_a_film(site: Site) -> None:
    answer = site.as_("editor").post("/uploads", files={"file": b"bytes"})
    assert (answer.status_code, answer.json()["code"]) == (400, "form_body")


def test_a_file_is_not_taken_under_a_key_that_would_promise_too_much(site: Site) -> None:
    answer = site.as_("editor").post("/uploads", content=b"bytes", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"], rows(site.services)) == (422, "idempotency_key_for_file", [])


def test_signed_parts_are_not_to_be_had_where_uploads_grow_on_a_disk(site: Site) -> None:
    answer = site.as_("editor").post("/uploads/multipart", json={"filename": "a.mp4", "size": 5})
    assert (answer.status_code, answer.json()["code"]) == (501, "multipart_unavailable")
    assert "/api/v1/tus" in answer.json()["detail"]


def test_who_may_not_upload_is_refused(site: Site) -> None:
    answer = site.as_("viewer").post("/uploads?filename=a.mp4", content=b"bytes")
    assert answer.status_code == 403
    assert rows(site.services) == []


def test_a_dropped_connection_leaves_a_reason_and_no_bytes(site: Site) -> None:
    vanish(site, sent=1_500_000, promised=9_000_000)
    failed = wait_for(lambda: next((row for row in rows(site.services) if row.state == "failed"), None))
    assert failed is not None and failed.error is not None
    assert failed.error["code"] == "connection_lost"
    wait_for(lambda: not any(site.services.config.uploads_dir.iterdir()))  # the row is written first
    nothing_is_left(site.services)


def test_bytes_of_another_upload_are_not_touched_by_one_that_breaks_off(site: Site) -> None:
    kept = post(site, FILM).json()
    vanish(site, sent=100, promised=9_000_000)
    wait_for(lambda: [row for row in rows(site.services) if row.state == "failed"])
    assert site.services.store.head(f"sources/{kept['asset']['id']}/{kept['upload']['id']}").size == len(FILM)


def test_many_files_at_once_all_arrive(site: Site) -> None:
    client = site.as_("editor")
    answers: list[httpx2.Response] = []

    def send(n: int) -> None:
        answers.append(client.post(f"/uploads?filename={n}.mp4", content=bytes([n]) * 2_000_000))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201] * 12
    for answer in answers:
        n = int(answer.json()["asset"]["source"]["name"].removesuffix(".mp4"))
        assert answer.json()["upload"]["sha256"] == hashlib.sha256(bytes([n]) * 2_000_000).hexdigest()


class TestWithALimit:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        limits = {"max_upload_bytes": 1_000_000, "idle_timeout_s": 0.5}
        return config.model_copy(update={"ingest": config.ingest.model_copy(update=limits)})

    @pytest.mark.parametrize("content", [lambda: FILM, pieces], ids=["declared", "chunked"])
    def test_a_file_over_the_limit_is_refused_and_nothing_kept(self, site: Site, content: Callable[[], Any]) -> None:
        answer = post(site, content())
        assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
        assert "1,000,000 bytes" in answer.json()["detail"]
        nothing_is_left(site.services)

    def test_a_file_of_just_the_limit_is_taken(self, site: Site) -> None:
        assert post(site, b"x" * 1_000_000).status_code == 201

    def test_a_sender_that_falls_silent_is_let_go(self, site: Site) -> None:
        with half_sent(site, sent=1000, promised=900_000) as silent, HTTPResponse(silent) as answer:
            answer.begin()
            assert (answer.status, json.loads(answer.read())["code"]) == (408, "upload_stalled")
        nothing_is_left(site.services)


class TestWithoutRoom:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(update={"ingest": config.ingest.model_copy(update={"min_free_bytes": 1 << 60})})

    def test_an_upload_is_refused_before_it_fills_the_disk(self, site: Site) -> None:
        answer = post(site, FILM)
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        assert "MiB left" in answer.json()["detail"]
        nothing_is_left(site.services)
        assert site.as_("editor").get("/assets").status_code == 200


def test_a_disk_that_fills_up_in_the_middle_is_507(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = os.writev, [0]

    def full(handle: int, pieces: list[bytes]) -> int:
        if (written := _add(sum(map(len, pieces)))) > 2_000_000:
            raise OSError(28, f"No space left on device after {written}")
        return real(handle, pieces)

    def _add(size: int) -> int:
        written[0] += size
        return written[0]

    monkeypatch.setattr("storage.uploads.os.writev", full)
    answer = post(site, FILM)
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert [row.error and row.error["code"] for row in rows(site.services)] == ["storage_full"]
    nothing_is_left(site.services)


def test_storage_that_is_away_is_503_and_nothing_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*args: Any, **options: Any) -> None:
        raise StorageDown("no answer")

    monkeypatch.setattr("storage.local.LocalStore.adopt", down)
    answer = post(site, FILM)
    assert answer.status_code == 503 and answer.headers["retry-after"]
    nothing_is_left(site.services)


def test_a_database_that_fails_at_the_end_leaves_no_film_and_no_source(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **options: Any) -> None:
        raise OperationalError("insert", {}, Exception("gone away"))

    monkeypatch.setattr(assets, "create", fails)
    assert post(site, FILM).status_code == 503
    nothing_is_left(site.services)


def test_a_fault_after_the_film_is_in_never_takes_its_source_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **options: Any) -> None:
        raise RuntimeError("a bug after the commit")

    monkeypatch.setattr("streamer.ingest.uploads.queues.dispatch", fails)
    assert post(site, FILM).status_code == 500
    (upload,) = rows(site.services)
    assert upload.state == "received"
    assert site.services.store.read(upload.source_key) == FILM


def test_what_a_dead_process_left_is_swept_and_finished_uploads_never(site: Site) -> None:
    services = site.services
    done = post(site, FILM).json()["upload"]
    what = wanted.of("film.mp4", None, Policy.PRIVATE, None, services.config.ingest)
    dead, alive = (uploads.begin(services, site.user("editor").id, what) for _ in range(2))
    for upload in (dead, alive):
        uploads.receive(services, upload, iter([b"half of it"]))
    services.store.put(dead.source_key, b"half of it", type="application/octet-stream")
    with db.session(services) as s:
        old = db.database_now(-services.config.ingest.expire_s - 1)
        s.execute(update(Upload).where(Upload.id.in_([dead.id, done["id"]])).values(updated_at=old))
    assert leftovers.sweep(services) == 1
    assert {row.id: row.state for row in rows(services)} == {
        done["id"]: "received",
        dead.id: "failed",
        alive.id: "receiving",
    }
    assert [path.name for path in services.config.uploads_dir.iterdir()] == [alive.id]
    assert [info.size for info in services.store.list("sources/")] == [len(FILM)]


def test_a_machine_removes_its_own_files_of_uploads_that_were_given_up_elsewhere(site: Site) -> None:
    services = site.services
    what = wanted.of("film.mp4", None, Policy.PRIVATE, None, services.config.ingest)
    given_up, alive = (uploads.begin(services, site.user("editor").id, what) for _ in range(2))
    with db.session(services) as s:
        s.execute(update(Upload).where(Upload.id == given_up.id).values(state="failed"))
    assert (leftovers.tidy(services), leftovers.tidy(services)) == (1, 0)
    assert [path.name for path in services.config.uploads_dir.iterdir()] == [alive.id]


def test_an_upload_that_was_swept_in_mid_flight_does_not_become_a_film(site: Site) -> None:
    services = site.services
    what = wanted.of("film.mp4", None, Policy.PRIVATE, None, services.config.ingest)
    upload = uploads.begin(services, site.user("editor").id, what)
    sha256 = uploads.receive(services, upload, iter([b"bytes"]))
    with db.session(services) as s:
        s.execute(update(Upload).values(state="failed"))
    with pytest.raises(uploads.Conflict):
        uploads.complete(services, upload, what, sha256)
    assert count(services, Asset) == 0


def vanish(site: Site, *, sent: int, promised: int) -> None:
    """Begin an upload and pull the plug."""
    with half_sent(site, sent=sent, promised=promised):
        wait_for(lambda: rows(site.services) and any(Path(site.services.config.uploads_dir).iterdir()))


def half_sent(site: Site, *, sent: int, promised: int) -> socket.socket:
    """The connection of an upload that has begun."""
    host, _, port = site.base.removeprefix("http://").partition(":")
    authorization = site.as_("editor").headers["authorization"]
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST /api/v1/uploads?filename=a.mp4 HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n"
    connection.sendall(f"{head}Content-Length: {promised}\r\n\r\n".encode() + b"x" * sent)
    return connection
