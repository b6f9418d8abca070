"""A film's versions over HTTP: what plays is what somebody chose last, and nothing goes that somebody may still be watching."""

import time
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from streamer import db
from streamer.catalog import deletion, history, versions
from streamer.catalog.tables import Asset, Stage, Version
from streamer.catalog.versions import Growth
from streamer.events.tables import Event
from streamer.jobs import jobs, runner, waiting
from streamer.jobs.errors import TaskFailed
from streamer.jobs.tables import Job
from tests.streamer.site_under_test import Site
from tests.web import NO_TLS


def next_version(site: Site, asset: Asset, **body: Any) -> tuple[Version, Job]:
    """Made by encoding again what plays, or what `from` names."""
    answer = site.as_("editor").post(f"/assets/{asset.id}/versions", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/api/v1/assets/{asset.id}/versions/{made['id']}"
    time.sleep(0.002)  # ids of one millisecond have no order
    with db.reading(site.services) as s:
        return s.get_one(Version, made["id"]), jobs.get(s, made["job_id"])


def film(site: Site) -> tuple[Asset, Version]:
    """One that plays."""
    asset, version, job = site.film(site.user("editor"))
    site.publish(version, job, path=f"{asset.id}/v1")
    time.sleep(0.002)
    return asset, version


def ready(site: Site, asset: Asset, name: str) -> Version:
    version, job = next_version(site, asset)
    site.publish(version, job, path=f"{asset.id}/{name}")
    return version


def live(site: Site, asset: Asset) -> Any:
    return site.as_("editor").get(f"/assets/{asset.id}").json()["live_version_id"]


def at(version: Version, action: str = "") -> str:
    return f"/assets/{version.asset_id}/versions/{version.id}{action}"


def told(site: Site, *kinds: str) -> list[tuple[str, str]]:
    with db.reading(site.services) as s:
        events = s.scalars(select(Event).where(Event.type.in_(kinds)).order_by(Event.entry))
        return [(event.type, event.subject_id) for event in events]


def test_versions_are_listed_with_their_file_their_state_and_who_made_them(site: Site) -> None:
    asset, first = film(site)
    second, _ = next_version(site, asset, max_short_side=720, loudness_lufs=-23)
    newer, older = site.as_("editor").get(f"/assets/{asset.id}/versions").json()["data"]
    assert (newer["id"], newer["live"], newer["processing"], newer["publishes_itself"]) == (
        second.id,
        False,
        "queued",
        True,
    )
    assert newer["options"] == {"max_short_side": 720, "loudness_lufs": -23.0}
    assert newer["created_by"] == {"id": site.user("editor").id, "name": "editor"}
    assert newer["source"] == older["source"] == {"name": "film.mp4", "size": 11, "sha256": "ab" * 32}
    assert (older["id"], older["live"], older["playable"], older["size"], older["options"]) == (
        first.id,
        True,
        True,
        55_700,
        {},
    )
    assert older["published_at"] and older["duration_s"] == 12.5 and newer["progress"]["stage"] == "queued"
    assert site.as_("editor").get(at(first)).json() == older
    assert [one["kind"] for one in site.as_("editor").get(at(first, "/renditions")).json()["data"]][:1] == ["video"]
    paged = site.as_("editor").get(f"/assets/{asset.id}/versions?limit=1").json()
    assert paged["next_cursor"] == second.id


def test_a_newer_version_plays_as_soon_as_it_is_whole_and_an_older_one_when_it_is_chosen(site: Site) -> None:
    asset, first = film(site)
    names = site.as_("editor").get(f"/assets/{asset.id}").json()["playback_ids"]
    second = ready(site, asset, "v2")
    assert live(site, asset) == second.id
    answer = site.as_("editor").post(at(first, "/publish"))
    assert (answer.status_code, answer.json()["live"], live(site, asset)) == (200, True, first.id)
    site.as_("editor").post(at(first, "/publish"))
    assert site.as_("editor").post(at(second, "/publish")).json()["live"]
    assert site.as_("editor").get(f"/assets/{asset.id}").json()["playback_ids"] == names
    moved = ["version.published"] * 3
    assert told(site, "version.created", "version.published") == [
        ("version.created", second.id), *zip(moved, (second.id, first.id, second.id), strict=True)
    ]  # fmt: skip


def test_what_was_under_way_when_a_version_was_chosen_does_not_take_its_place(site: Site) -> None:
    asset, first = film(site)
    under_way, job = next_version(site, asset)
    site.as_("editor").post(at(first, "/publish"))
    assert not site.as_("editor").get(at(under_way)).json()["publishes_itself"]
    site.publish(under_way, job, path=f"{asset.id}/v2")
    assert live(site, asset) == first.id, "it was there to choose"
    later = ready(site, asset, "v3")
    assert live(site, asset) == later.id, "it was made after the choice"
    site.as_("editor").post(at(under_way, "/publish"))
    assert live(site, asset) == under_way.id


def test_only_what_is_ready_is_published_and_only_by_those_who_may_change_the_film(site: Site) -> None:
    asset, _ = film(site)
    waiting, _ = next_version(site, asset)
    refused = site.as_("editor").post(at(waiting, "/publish"))
    assert (refused.status_code, refused.json()["code"]) == (409, "version_not_ready")
    other, foreign = film(site)
    assert site.as_("editor").post(f"/assets/{asset.id}/versions/{foreign.id}/publish").status_code == 404
    viewer = site.as_("viewer")
    for method, path in (("GET", f"/assets/{asset.id}/versions"), ("POST", f"/assets/{asset.id}/versions"),
                         ("GET", at(waiting)), ("POST", at(waiting, "/publish")), ("DELETE", at(waiting))):  # fmt: skip
        assert viewer.request(method, path, json={} if method == "POST" else None).status_code == 403, (method, path)
        assert httpx2.request(method, f"{site.base}/api/v1{path}", json={}, verify=NO_TLS).status_code == 401
    narrow = site.as_("editor", scopes=("uploads:create",))
    assert narrow.post(f"/assets/{asset.id}/versions", json={}).status_code == 403


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_options_that_can_not_be_are_refused(site: Site) -> None:
    asset, _ = film(site)
    rung = {"short_side": 720, "max_kbps": 3000}
    for body in (
        {"max_short_side": 4000}, {"loudness_lufs": 3}, {"ladder": []}, {"ladder": [{**rung, "max_kbps": 1}]}, {"ladder": [rung, rung]},
        {"from": "ver_none"}, {"title": "x"}, [], {"passthrough": 1},
    ):  # fmt: skip
        answer = site.as_("editor").post(f"/assets/{asset.id}/versions", json=body)
        assert answer.status_code == (404 if "from" in body else 400), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    large = site.as_("editor").post(f"/assets/{asset.id}/versions", json={"from": "x" * (2 << 20)})
    assert (large.status_code, large.json()["code"]) == (413, "too_large")


def test_a_deleted_version_keeps_its_files_until_no_viewer_can_have_its_address(site: Site) -> None:
    asset, first = film(site)
    second = ready(site, asset, "v2")
    assert site.as_("editor").delete(at(second)).json()["code"] == "version_live"
    store, config = site.services.store, site.services.config.delivery
    files = [f"{asset.id}/v1/master.m3u8", f"{asset.id}/v2/master.m3u8", first.source_key]
    for key in files:
        store.put(key, b"bytes", type="text/plain")
    answer = site.as_("editor").delete(at(first))
    assert answer.status_code == 202 and answer.json()["deleted"]
    assert [one["id"] for one in site.as_("editor").get(f"/assets/{asset.id}/versions").json()["data"]] == [second.id]
    again = [
        site.as_("editor").request(method, at(first, end))
        for method, end in (("GET", ""), ("POST", "/publish"), ("DELETE", ""))
    ]
    assert [one.status_code for one in again] == [404] * 3
    assert site.as_("editor").post(f"/assets/{asset.id}/versions", json={"from": first.id}).status_code == 404
    with db.reading(site.services) as s:
        job = jobs.get(s, answer.json()["job_id"])
    assert (job.run_after - job.created_at).total_seconds() == pytest.approx(
        config.token_max_s + config.token_skew_s, abs=1
    )
    runner.perform(site.services, job.id, "w1")
    assert [info.key for info in store.list("")] == sorted(files), "it is not due"
    assert deletion.resume(site.services) == 0
    with db.session(site.services) as s:
        s.get_one(Job, job.id).run_after = db.now()
    runner.perform(site.services, job.id, "w1")
    assert [info.key for info in store.list("")] == sorted(files[1:]), "the second is made from the same source"
    assert told(site, "version.deleted") == [("version.deleted", first.id)]


def test_the_source_goes_with_the_last_version_that_was_made_from_it(site: Site) -> None:
    asset, first = film(site)
    site.services.store.put(first.source_key, b"bytes", type="text/plain")
    answer = site.as_("editor").post(f"/assets/{asset.id}/versions?filename=b.mp4", content=b"another file")
    assert answer.status_code == 201
    with db.session(site.services) as s:
        other = s.get_one(Version, answer.json()["asset"]["version_id"])
        history.delete(s, s.get_one(Asset, asset.id), other, 0)
    keys = [info.key for info in site.services.store.list("sources/")]
    assert sorted(keys) == sorted([first.source_key, other.source_key])
    with db.session(site.services) as s:
        s.get_one(Version, first.id).source_key = other.source_key  # as if it were made from the same file
        (removal,) = [job for job in waiting.due(s) if job.kind == "delete_version"]
    runner.perform(site.services, removal.id, "w1")
    assert [info.key for info in site.services.store.list("sources/")] == sorted(keys)
    with db.session(site.services) as s:
        s.get_one(Version, first.id).source_key = first.source_key
        again = history.enqueue_removal(s, s.get_one(Version, other.id))
    runner.perform(site.services, again.id, "w1")
    assert [info.key for info in site.services.store.list("sources/")] == [first.source_key]


def test_deleting_a_version_stops_its_encode_and_a_film_keeps_one(site: Site) -> None:
    asset, version, job = site.film(site.user("editor"))
    assert site.as_("editor").delete(at(version)).json()["code"] == "last_version"
    site.publish(version, job)
    time.sleep(0.002)
    unwanted, encode = next_version(site, asset)
    site.as_("editor").delete(at(unwanted))
    assert site.as_("editor").get(f"/jobs/{encode.id}").json()["state"] == "cancelled"
    shown = site.as_("editor").get(f"/assets/{asset.id}").json()
    assert (shown["processing"], shown["version_id"]) == ("ready", version.id)
    site.as_("editor").post(f"/jobs/{encode.id}/retry")
    runner.perform(site.services, encode.id, "w1")
    assert site.as_("editor").get(f"/jobs/{encode.id}").json()["error"]["code"] == "version_deleted"
    assert told(site, "asset.cancelled", "asset.errored") == [("asset.cancelled", asset.id)]


def test_a_film_is_deleted_whole_while_a_version_waits_to_be_removed(site: Site) -> None:
    asset, first = film(site)
    ready(site, asset, "v2")
    site.services.store.put(f"{asset.id}/v1/master.m3u8", b"bytes", type="text/plain")
    later = site.as_("editor").delete(at(first)).json()["job_id"]
    answer = site.as_("editor").delete(f"/assets/{asset.id}")
    assert answer.status_code == 202, answer.text
    runner.perform(site.services, answer.json()["job_id"], "w1")
    assert list(site.services.store.list("")) == []
    with db.session(site.services) as s:
        s.get_one(Job, later).run_after = db.now()
    runner.perform(site.services, later, "w1")
    assert site.as_("editor").get(f"/jobs/{later}").json()["state"] == "succeeded"


def test_a_removal_that_was_given_up_is_taken_up_again(site: Site) -> None:
    asset, first = film(site)
    ready(site, asset, "v2")
    job_id = site.as_("editor").delete(at(first)).json()["job_id"]
    with db.session(site.services) as s:
        s.get_one(Job, job_id).state = "failed"
    assert (deletion.resume(site.services), deletion.resume(site.services)) == (1, 0)


def test_when_what_grew_alone_fails_the_film_plays_what_is_whole(site: Site) -> None:
    """The newer one was first to play; the older one was finished meanwhile."""
    asset, older, job = site.film(site.user("editor"))
    time.sleep(0.002)
    newer, encode = next_version(site, asset)
    with db.session(site.services) as s:
        claim = jobs.claim(s, encode.id, "w2", 20)
        assert claim is not None
        versions.grow(s, newer.id, Growth(Stage.START, f"{asset.id}/v2", 6.0, 60.0, 640, 360, poster=True))
    site.publish(older, job)
    assert live(site, asset) == newer.id
    with db.session(site.services) as s:
        broken = TaskFailed("broken", "Broken", "It broke.", retryable=False)
        jobs.fail(s, claim, broken, site.services.config.jobs)
    assert live(site, asset) == older.id
