"""What is told of a film's life, by the API and by the jobs that make it."""

import pytest
from sqlalchemy import select

from streamer import db
from streamer.catalog import versions
from streamer.catalog.tables import Stage
from streamer.catalog.versions import Growth
from streamer.events.tables import Event
from streamer.jobs import jobs
from streamer.jobs.errors import LeaseLost, TaskFailed
from tests.streamer.site_under_test import Site, facts


def told(site: Site) -> list[Event]:
    with db.reading(site.services) as s:
        return list(s.scalars(select(Event).order_by(Event.entry)))


def kinds(site: Site) -> list[str]:
    return [one.type for one in told(site)]


def test_the_life_of_a_film_is_told_in_order(site: Site) -> None:
    editor = site.as_("editor")
    asset, version, job = site.film(site.user("editor"), "Füchse")
    with db.session(site.services) as s:
        versions.grow(s, version.id, Growth(Stage.START, f"{asset.id}/v1", 6.0, 60.0, 640, 360, poster=True))
        versions.grow(s, version.id, Growth(Stage.START, f"{asset.id}/v1", 12.0, 60.0, 640, 360, poster=True))
    site.publish(version, job)
    editor.patch(f"/assets/{asset.id}", json={"title": "Dachse"})
    name = editor.post(f"/assets/{asset.id}/playback-ids", json={"policy": "public"}).json()["id"]
    editor.delete(f"/assets/{asset.id}/playback-ids/{name}")
    editor.delete(f"/assets/{asset.id}/playback-ids/{name}")
    editor.delete(f"/assets/{asset.id}")
    assert kinds(site) == [
        "asset.created", "playback_id.created", "asset.playable", "asset.ready", "asset.updated", "playback_id.created",
        "playback_id.revoked", "asset.deleted",
    ]  # fmt: skip
    first, _, playable, ready, updated, *_ = told(site)
    assert (first.subject_id, first.data["title"], updated.data["title"]) == (asset.id, "Füchse", "Dachse")
    assert (playable.data["stage"], playable.data["available_s"], playable.data["processing"]) == (
        "start",
        6.0,
        "queued",
    )
    assert (ready.data["stage"], ready.data["duration_s"], ready.data["version_id"]) == ("final", 12.5, version.id)


def test_a_failed_encode_is_told_once_and_with_its_reason(site: Site) -> None:
    asset, version, job = site.film(site.user("editor"))
    error = TaskFailed("not_a_film", "Not a film", "It is a poem.", retryable=False)
    with db.session(site.services) as s:
        claim = jobs.claim(s, job.id, "w1", 20)
        assert claim is not None
        jobs.fail(s, claim, error, site.services.config.jobs)
    site.as_("editor").post(f"/jobs/{job.id}/retry")
    site.as_("editor").post(f"/jobs/{job.id}/cancel")
    site.as_("editor").post(f"/jobs/{job.id}/cancel")
    *_, errored, cancelled = told(site)
    assert kinds(site)[2:] == ["asset.errored", "asset.cancelled"]
    assert (errored.subject_id, errored.data["error"]["code"]) == (asset.id, "not_a_film")
    assert cancelled.data["processing"] == "cancelled"


def test_a_worker_that_lost_its_job_tells_nothing(site: Site) -> None:
    _, version, job = site.film(site.user("editor"))
    with db.session(site.services) as s:
        stale = jobs.claim(s, job.id, "w1", 20)
        assert stale is not None
        jobs.lost(s, job.id, stale.fence)
    with pytest.raises(LeaseLost), db.session(site.services) as s:
        versions.publish(s, version.id, facts("x/y"))
        jobs.finish(s, stale)
    assert kinds(site) == ["asset.created", "playback_id.created"]


def test_a_failed_upload_is_told(site: Site) -> None:
    answer = site.as_("editor").post("/uploads?filename=f.mp4", content=b"")
    assert answer.status_code == 400
    answer = site.as_("editor").post("/uploads?filename=f.mp4", content=iter([b""]))
    (failed,) = told(site)
    assert (failed.type, failed.data["filename"], failed.data["error"]["code"]) == (
        "upload.failed",
        "f.mp4",
        "empty_file",
    )
