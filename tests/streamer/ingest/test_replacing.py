"""Every door takes a file for a film that there is, and what its worker is told to take from older versions."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from packager.errors import SourceRefused
from packager.ladder import REFERENCE
from packager.pipeline import Options
from streamer import db
from streamer.accounts.tables import User
from streamer.catalog import assets
from streamer.catalog.tables import Asset, Version
from streamer.ingest import transcode, uploads
from streamer.jobs.runner import perform
from streamer.jobs.tables import Job
from tests.streamer.ingest.tus.client import Tus, metadata
from tests.streamer.site_under_test import Site, facts
from tests.streamer.stack import wait_for

NEW = b"the second cut"


def film(site: Site) -> Asset:
    """One that plays."""
    asset, version, job = site.film(site.user("editor"))
    site.publish(version, job, path=f"{asset.id}/v1")
    time.sleep(0.002)  # ids of one millisecond have no order
    return asset


def by_post(site: Site, asset_id: str, who: str = "editor") -> httpx2.Response:
    query = {"filename": "cut2.mp4", "title": "not taken", "asset_id": asset_id}
    return site.as_(who).post("/uploads", params=query, content=NEW)


def by_versions(site: Site, asset_id: str, who: str = "editor") -> httpx2.Response:
    return site.as_(who).post(f"/assets/{asset_id}/versions?filename=cut2.mp4", content=NEW)


def by_tus(site: Site, asset_id: str, who: str = "editor") -> httpx2.Response:
    said = metadata(filename="cut2.mp4", title="not taken", asset_id=asset_id)
    return Tus(site.as_(who)).create(len(NEW), NEW, Upload_Metadata=said)


def by_tus_in_parts(site: Site, asset_id: str, who: str = "editor") -> httpx2.Response:
    tus = Tus(site.as_(who))
    parts = [tus.path(tus.create(len(part), part, Upload_Concat="partial")) for part in (NEW[:5], NEW[5:])]
    said = metadata(filename="cut2.mp4", asset_id=asset_id)
    return tus.create(None, Upload_Concat="final;" + " ".join(f"/api/v1{part}" for part in parts), Upload_Metadata=said)


DOORS = {"upload": by_post, "versions": by_versions, "tus": by_tus, "tus in parts": by_tus_in_parts}
Door = Callable[..., httpx2.Response]


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_a_file_for_a_film_becomes_its_next_version(site: Site, door: Door) -> None:
    asset = film(site)
    before = site.as_("editor").get(f"/assets/{asset.id}").json()
    assert door(site, asset.id).status_code == 201
    after = site.as_("editor").get(f"/assets/{asset.id}").json()
    kept = ("title", "playback_ids", "live_version_id", "playable", "stage", "duration_s")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert (after["processing"], after["source"]["name"]) == ("queued", "cut2.mp4")
    newer, older = site.as_("editor").get(f"/assets/{asset.id}/versions").json()["data"]
    assert (newer["created_by"]["name"], newer["publishes_itself"], older["live"]) == ("editor", True, True)
    with db.reading(site.services) as s:
        version = s.get_one(Version, newer["id"])
    assert version.source_key.startswith(f"sources/{asset.id}/") and site.services.store.read(version.source_key) == NEW
    assert len(site.as_("editor").get("/assets").json()["data"]) == 1


@pytest.mark.parametrize("door", [by_post, by_versions, by_tus])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_only_those_who_may_change_a_film_give_it_another_file(site: Site, door: Door) -> None:
    asset = film(site)
    with db.session(site.services) as s:
        s.get_one(User, site.user("viewer").id).role = "viewer"
    assert door(site, asset.id, "viewer").status_code == 403
    assert [door(site, other).status_code for other in ("ast_none", "ast_" + "0" * 20)] == [404, 404]
    assert len(site.as_("editor").get(f"/assets/{asset.id}/versions").json()["data"]) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_whose_film_was_deleted_on_the_way_is_refused_and_leaves_nothing(site: Site) -> None:
    asset = film(site)
    tus = Tus(site.as_("editor"))
    path = tus.new(len(NEW), Upload_Metadata=metadata(filename="cut2.mp4", asset_id=asset.id))
    tus.patch(path, 0, NEW[:5])
    with db.session(site.services) as s:
        assets.delete(s, s.get_one(Asset, asset.id))
    answer = tus.patch(path, 5, NEW[5:])
    assert answer.status_code == 204 or answer.json()["code"] == "film_gone"
    wait_for(
        lambda: tus.head(path).status_code == 410
    )  # it is who settles whole uploads that was refused, if it came first
    assert tus.upload(path)["error"]["detail"].startswith("It was deleted while the file was on its way.")
    wait_for(lambda: not list(site.services.store.list("sources/")) and not list(site.services.uploads.ids()))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_of_somebody_who_lost_the_right_meanwhile_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = film(site)
    real = uploads.complete

    def demoted(*args: Any) -> Any:
        with db.session(site.services) as s:
            s.get_one(User, site.user("editor", name="second").id).role = "viewer"
        return real(*args)

    monkeypatch.setattr(uploads, "complete", demoted)
    client = site.as_("editor", name="second")
    answer = client.post(f"/uploads?filename=b.mp4&asset_id={asset.id}", content=NEW)
    assert (answer.status_code, answer.json()["code"]) == (410, "film_gone")
    assert list(site.services.store.list("sources/")) == []


def test_only_the_newest_versions_are_kept_and_what_somebody_chose_to_play(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder is left out: what a finished encode brings about is what counts."""
    monkeypatch.setattr(transcode, "encode", lambda source, store, prefix, **options: prefix(f"{time.time_ns():x}"))
    monkeypatch.setattr(transcode, "facts", facts)
    settings = site.services.config.ingest.model_copy(update={"keep_versions": 2})
    tidy = replace(site.services, config=site.services.config.model_copy(update={"ingest": settings}))
    asset, editor = film(site), site.as_("editor")

    def asked_again() -> Any:
        time.sleep(0.002)
        return editor.post(f"/assets/{asset.id}/versions", json={}).json()

    def kept(made: Any) -> list[str]:
        perform(tidy, made["job_id"], "w1")
        return [version["id"] for version in editor.get(f"/assets/{asset.id}/versions").json()["data"]]

    first = editor.get(f"/assets/{asset.id}").json()["live_version_id"]
    with db.reading(site.services) as s:
        site.services.store.put(s.get_one(Version, first).source_key, b"the first cut", type="video/mp4")
    waiting, second, third = (asked_again() for _ in range(3))
    assert kept(second) == [third["id"], second["id"], waiting["id"], first]
    assert kept(third) == [third["id"], second["id"], waiting["id"]], "what is not ready neither counts nor goes"
    with db.reading(site.services) as s:
        (removal,) = s.scalars(select(Job).where(Job.kind == "delete_version"))
        assert (removal.subject_id, removal.state) == (first, "queued")
        assert removal.run_after - removal.created_at > timedelta(hours=23), "somebody may be watching it"
    fourth = asked_again()
    assert editor.post(f"/assets/{asset.id}/versions/{second['id']}/publish").status_code == 200
    assert kept(fourth) == [one["id"] for one in (fourth, third, second, waiting)]
    assert editor.get(f"/assets/{asset.id}").json()["live_version_id"] == second["id"], "somebody chose it"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the packager is asked for; it refuses everything."""
    calls: list[dict[str, Any]] = []

    def encode(source: object, store: object, prefix: Callable[[str], str], **options: Any) -> None:
        calls.append({"prefix": prefix("0" * 20), **options})
        raise SourceRefused("broken", "The film is broken", "It is no film.")

    monkeypatch.setattr(transcode, "encode", encode)
    return calls


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_version_with_other_options_is_made_in_a_folder_of_its_own_from_what_there_is(
    site: Site, asked: list[dict[str, Any]]
) -> None:
    asset = film(site)
    editor = site.as_("editor")
    made = editor.post(f"/assets/{asset.id}/versions?filename=cut2.mp4", content=NEW).json()
    other_ladder = {"loudness_lufs": 0, "ladder": [{"short_side": 360, "max_kbps": 500}]}
    first, again = (editor.post(f"/assets/{asset.id}/versions", json=body).json() for body in ({}, other_ladder))
    with db.reading(site.services) as s:
        key = s.get_one(Version, first["id"]).source_key
    site.services.store.put(key, b"the first cut", type="video/mp4")
    for job_id in (made["job"]["id"], first["job_id"], again["job_id"]):
        perform(site.services, job_id, "w1")
    new_file, same_file, smaller = asked
    settings = site.services.config.packager
    assert new_file["prefix"] == f"{asset.id}/{'0' * 20}" and new_file["packages"] == []
    assert same_file["options"] == Options(settings.max_short_side, settings.segments_per_chunk)
    assert smaller["options"] == Options(360, settings.segments_per_chunk, ladder=(REFERENCE[1],), loudness=None)
    for call, version in ((same_file, first), (smaller, again)):
        assert call["prefix"] == f"{asset.id}/{'0' * 20}-{version['id'].removeprefix('ver_')}"
        assert call["packages"] == [f"{asset.id}/v1"]
    with db.reading(site.services) as s:
        assert s.get_one(Version, again["id"]).path == smaller["prefix"], "known before anything lies there"
        assert s.get_one(Job, again["job_id"]).state == "failed"
