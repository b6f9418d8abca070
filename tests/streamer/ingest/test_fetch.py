"""A film from a URL: the job that fetches it, through everything that its server and our own machines may do meanwhile."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from streamer import db
from streamer.catalog import assets
from streamer.catalog.tables import Asset
from streamer.config import Config
from streamer.events.tables import Event
from streamer.ingest import leftovers
from streamer.ingest.tables import Import, Upload
from streamer.jobs import jobs, runner
from streamer.jobs.tables import Job
from streamer.services import Services
from tests.streamer.ingest.filmserver import FilmServer, forever, says
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for

FILM = os.urandom(4_000_000)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def config(config: Config) -> Config:
    """A server that may fetch from this machine, and has little patience."""
    changes = {
        "outbound": config.outbound.model_copy(update={"allow_http": True, "allow_private": True}),
        "fetch": config.fetch.model_copy(update={"silence_s": 0.5, "slowest_bytes_s": 100_000}),
        "ingest": config.ingest.model_copy(update={"max_upload_bytes": 20_000_000}),
    }
    return config.model_copy(update=changes)


@pytest.fixture
def server() -> Iterator[FilmServer]:
    with FilmServer(FILM) as server:
        yield server


def begin(site: Site, url: str, **more: str) -> dict[str, Any]:
    answer = site.as_("editor").post("/imports", json={"url": url, **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/v1/uploads/{answer.json()['id']}"
    upload: dict[str, Any] = answer.json()
    return upload


def work(services: Services, upload: dict[str, Any], leaving: Callable[[], bool] = lambda: False) -> Job:
    """One attempt of the job, in this thread."""
    runner.perform(services, upload["job"]["id"], "w1", leaving=leaving)
    with db.reading(services) as s:
        return jobs.get(s, upload["job"]["id"])


def now(site: Site, upload: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = site.as_("editor").get(f"/uploads/{upload['id']}").json()
    return seen


def became(site: Site, upload: dict[str, Any]) -> dict[str, Any]:
    """The film, whose source has the right bytes."""
    row = now(site, upload)
    assert (row["state"], row["sha256"]) == ("received", hashlib.sha256(FILM).hexdigest()), row["error"]
    assert site.services.store.read(f"sources/{row['asset_id']}/{row['id']}") == FILM
    assert list(site.services.config.uploads_dir.iterdir()) == []
    film: dict[str, Any] = site.as_("editor").get(f"/assets/{row['asset_id']}").json()
    return film


def received(site: Site, upload: dict[str, Any]) -> int:
    path = site.services.config.uploads_dir / upload["id"]
    return path.stat().st_size if path.exists() else -1


def test_a_url_becomes_a_film_with_the_name_its_server_gives_it(site: Site, server: FilmServer) -> None:
    server.disposition = 'attachment; filename="The_film.mov"'
    upload = begin(site, server.url + "#t=10", policy="public")
    assert (upload["state"], upload["filename"], upload["url"]) == ("receiving", "My film.mp4", server.url)
    assert (upload["job"]["kind"], upload["job"]["state"]) == ("fetch", "queued")
    assert work(site.services, upload).state == "succeeded"
    film = became(site, upload)
    assert (film["title"], film["source"]["name"], film["processing"]) == ("The film", "The_film.mov", "queued")
    assert film["playback_ids"][0]["policy"] == "public"
    assert now(site, upload)["declared_size"] == len(FILM)
    assert site.services.kv_sync.llen("rq:queue:streamer") == 2, "the fetch and the encode were dispatched"
    again = begin(site, server.url, title="Mine", on_duplicate="offer")
    work(site.services, again)
    assert (now(site, again)["state"], now(site, again)["duplicate_of"]["asset_id"]) == ("held", film["id"])


def test_a_url_that_names_a_film_becomes_its_next_version(site: Site, server: FilmServer) -> None:
    editor = site.as_("editor")
    asset, version, job = site.film(site.user("editor"), "Kept")
    site.publish(version, job)
    upload = begin(site, server.url, asset_id=asset.id, title="not taken", on_duplicate="offer")
    assert (upload["replaces"], upload["asset_id"]) == (asset.id, None)
    assert work(site.services, upload).state == "succeeded"
    film = became(site, upload)
    assert (film["id"], film["title"], film["live_version_id"]) == (asset.id, "Kept", version.id)
    assert (film["source"]["name"], film["processing"]) == ("My film.mp4", "queued")
    assert len(editor.get(f"/assets/{asset.id}/versions").json()["data"]) == 2


@SQLITE
def test_a_film_gets_no_file_from_a_url_by_who_may_not_change_it_nor_after_it_was_deleted(
    site: Site, server: FilmServer
) -> None:
    asset, *_ = site.film(site.user("admin"))
    for who, asset_id, status in (("editor", asset.id, 403), ("admin", "ast_" + "0" * 20, 404)):
        scopes = ("uploads:create", "assets:read")  # an editor's key that may not change the films of others
        answer = site.as_(who, scopes=scopes).post("/imports", json={"url": server.url, "asset_id": asset_id})
        assert answer.status_code == status

    def delete(upload: dict[str, Any]) -> None:
        with db.session(site.services) as s:
            assets.delete(s, s.get_one(Asset, upload["replaces"]))

    early, late = (begin(site, server.url, asset_id=site.film(site.user("editor"))[0].id) for _ in range(2))
    delete(early)
    assert (work(site.services, early).error or {})["code"] == "film_gone"
    assert server.asked == [], "nothing is fetched for it"
    server.answers = [lambda request: (delete(late), server._film(request))[1]]
    assert (work(site.services, late).error or {})["code"] == "film_gone"
    assert len(server.asked) == 1
    for upload in (early, late):
        assert (now(site, upload)["state"], now(site, upload)["error"]["code"]) == ("failed", "film_gone")
        assert received(site, upload) == -1
    assert list(site.services.store.list("sources/")) == []


@SQLITE
def test_a_broken_connection_goes_on_where_it_broke(site: Site, server: FilmServer) -> None:
    server.cut_after = [1_500_000, 1_200_000]
    upload = begin(site, server.url)
    assert work(site.services, upload).state == "succeeded"
    assert became(site, upload)["title"] == "My film"
    assert [one.get("range") for one in server.asked] == [None, "bytes=1500000-", "bytes=2700000-"]


@SQLITE
@pytest.mark.parametrize("habit", ["another file", "no ranges"])
def test_it_begins_again_when_the_rest_can_not_be_had(site: Site, server: FilmServer, habit: str) -> None:
    server.film = os.urandom(3_000_000) if habit == "another file" else FILM
    server.cut_after = [2_000_000, 0]
    upload = begin(site, server.url)
    assert work(site.services, upload).state == "queued"
    assert received(site, upload) == 2_000_000
    server.film, server.etag, server.ranges = FILM, '"two"', habit == "another file"
    wait_for(lambda: work(site.services, upload).state == "succeeded")
    became(site, upload)
    assert server.asked[-1]["range"] == "bytes=2000000-"


@SQLITE
def test_a_worker_that_leaves_or_dies_hands_on_what_it_has(site: Site, server: FilmServer) -> None:
    server.pause_s = 0.1
    upload = begin(site, server.url)
    job = work(site.services, upload, leaving=lambda: received(site, upload) >= 1 << 20)
    assert (job.state, job.attempt) == ("queued", 1)
    kept = received(site, upload)
    assert (1 << 20) <= kept < len(FILM)
    server.pause_s = 0
    assert work(site.services, upload).state == "succeeded"
    assert server.asked[-1]["range"] == f"bytes={kept}-"
    became(site, upload)


@SQLITE
def test_bytes_that_another_machine_has_since_replaced_are_not_gone_on_with(site: Site, server: FilmServer) -> None:
    upload = begin(site, server.url)
    site.services.uploads.create(upload["id"])
    site.services.uploads.append(upload["id"], 0, [b"from before" * 100])
    with db.session(site.services) as s:
        s.get_one(Import, upload["id"]).validator, s.get_one(Import, upload["id"]).holder = '"one"', "elsewhere:/srv"
    work(site.services, upload)
    became(site, upload)
    assert "range" not in server.asked[0]


def test_a_refusal_ends_it_with_a_reason_and_a_retry_takes_it_up_again(site: Site, server: FilmServer) -> None:
    server.answers = [says(404)]
    upload = begin(site, server.url)
    assert work(site.services, upload).state == "failed"
    row = now(site, upload)
    assert (row["state"], row["error"]["code"]) == ("failed", "remote_missing") and "404" in row["error"]["detail"]
    assert list(site.services.config.uploads_dir.iterdir()) == []
    with db.reading(site.services) as s:
        events = [(event.type, event.subject_id) for event in s.query(Event)]
    assert events == [("upload.failed", upload["id"])]
    assert site.as_("editor").post(f"/jobs/{upload['job']['id']}/retry").status_code == 200
    assert (now(site, upload)["state"], now(site, upload)["error"]) == ("receiving", None)
    assert work(site.services, upload).state == "succeeded"
    became(site, upload)


@SQLITE
def test_what_may_pass_is_tried_again_by_the_job(site: Site, server: FilmServer) -> None:
    server.answers = [says(503)]
    upload = begin(site, server.url)
    job = work(site.services, upload)
    assert (job.state, job.attempt, (job.error or {})["code"]) == ("queued", 2, "remote_busy")
    assert now(site, upload)["state"] == "receiving"
    wait_for(lambda: work(site.services, upload).state == "succeeded")
    became(site, upload)


@SQLITE
def test_a_length_that_is_a_lie_is_no_film_until_all_of_it_is_there(site: Site, server: FilmServer) -> None:
    server.cut_after = [500_000] + [0] * 5
    upload = begin(site, server.url)
    job = work(site.services, upload)
    assert (job.state, (job.error or {})["code"]) == ("queued", "broken_off")
    assert "500,000 of 4,000,000" in (job.error or {})["detail"] and received(site, upload) == 500_000
    server.cut_after = []
    wait_for(lambda: work(site.services, upload).state == "succeeded")
    assert server.asked[-1]["range"] == "bytes=500000-"
    became(site, upload)


@SQLITE
@pytest.mark.parametrize(
    ("habit", "code", "retryable"),
    [
        (forever(b"x" * 1_000_000), "file_too_large", False),
        (says(200, content_length="99999999999"), "file_too_large", False),
        (forever(b"x" * 5000, 0.1), "too_slow", True),
        (says(200), "empty_file", False),
        (says(200, b"<html><p>Log in"), "not_a_file", False),
    ],
    ids=["no end", "a length over the limit", "a trickle", "nothing", "a page"],
)
def test_bodies_that_are_no_film(site: Site, server: FilmServer, habit: Any, code: str, retryable: bool) -> None:
    server.answers = [habit]
    upload = begin(site, server.url)
    job = work(site.services, upload)
    assert ((job.error or {})["code"], (job.error or {})["retryable"]) == (code, retryable)
    assert retryable or received(site, upload) == -1, "what never becomes a film leaves no bytes"


def test_a_cancel_ends_it_within_two_seconds_and_leaves_nothing(site: Site, server: FilmServer) -> None:
    server.answers = [forever(b"x" * 50_000, 0.05)]
    upload = begin(site, server.url)
    worker = threading.Thread(target=work, args=(site.services, upload))
    worker.start()
    wait_for(lambda: received(site, upload) > 0 or len(server.asked) == 1)
    time.sleep(0.3)
    began = time.monotonic()
    assert site.as_("editor").post(f"/jobs/{upload['job']['id']}/cancel").status_code == 200
    worker.join(10)
    assert time.monotonic() - began < 2
    row = now(site, upload)
    assert (row["state"], row["error"]["code"], row["job"]["state"]) == ("failed", "cancelled", "cancelled")
    assert received(site, upload) == -1 and list(site.services.store.list("")) == []


@SQLITE
def test_one_that_waits_in_the_queue_never_expires_and_one_that_is_over_leaves_nothing(
    site: Site, server: FilmServer
) -> None:
    upload = begin(site, server.url)
    with db.session(site.services) as s:
        s.get_one(Upload, upload["id"]).updated_at = db.now().replace(year=2020)
    assert leftovers.sweep(site.services) == 0
    site.services.uploads.create(upload["id"])
    assert leftovers.tidy(site.services) == 0
    site.as_("editor").post(f"/jobs/{upload['job']['id']}/cancel")
    assert now(site, upload)["state"] == "failed"
    assert leftovers.tidy(site.services) == 1


@SQLITE
def test_who_may_not_upload_or_has_no_room_imports_nothing(site: Site, server: FilmServer) -> None:
    assert site.as_("viewer").post("/imports", json={"url": server.url}).status_code == 403
    settings = site.services.config.ingest.model_copy(update={"max_unfinished_bytes": len(FILM) - 1})
    tight = replace(site.services, config=site.services.config.model_copy(update={"ingest": settings}))
    upload = begin(site, server.url)
    job = work(tight, upload)
    assert ((job.error or {})["code"], job.state) == ("upload_quota", "queued"), "uploads of the same user may end"
    for _ in range(site.services.config.ingest.max_unfinished - 1):
        begin(site, server.url)
    answer = site.as_("editor").post("/imports", json={"url": server.url})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_unfinished")


@SQLITE
def test_urls_that_can_not_be_used_are_refused_at_once(site: Site) -> None:
    for url in ("", "ftp://example.org/x", "https://a:b@example.org/", "https://example.org/ä", "https://", "//x"):
        answer = site.as_("editor").post("/imports", json={"url": url})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/url")
    for body in (
        {"url": "https://example.org/x", "policy": "secret"},
        {"url": "https://example.org/x", "asset": "x"},
        {},
    ):
        assert site.as_("editor").post("/imports", json=body).status_code == 400
