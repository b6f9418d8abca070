"""Each way in which rows, jobs, objects, playlists and hashes can differ is found, named and, where nothing is lost by it, mended."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from streamer import db, ids
from streamer.catalog import versions
from streamer.catalog.tables import Asset, Processing, Version
from streamer.catalog.versions import Source
from streamer.events.tables import Event
from streamer.ingest import transcode
from streamer.jobs import jobs, waiting
from streamer.jobs.tables import Job
from streamer.ops import fsck, fsck_report
from tests.streamer.ops.film_house import House


def test_a_whole_film_has_no_difference(house: House) -> None:
    assert house.found() == []


@pytest.mark.parametrize(
    "what",
    ["a segment", "a changed segment", "a cut segment", "a playlist", "the entry", "an init segment", "an index"],
)
def test_what_was_lost_of_a_package_is_made_again_from_the_upload(house: House, what: str) -> None:
    store = house.services.store
    endings = {
        "a playlist": "/vod.m3u8",
        "the entry": "/master.m3u8",
        "an init segment": ".mp4",
        "an index": "/0000.json",
    }
    key = house.key(ending=endings.get(what, ".m4s"))
    data = store.read(key)
    if "changed" in what:
        store.put(key, data[:-1] + bytes([data[-1] ^ 1]), type="video/mp4")
    elif "cut" in what:
        store.put(key, data[:-1], type="video/mp4")
    else:
        store.delete(key)
    found = house.found()
    assert {kind for kind, _ in found} <= {"object_missing", "object_changed", "object_unindexed"}
    if what == "an index":
        assert {kind for kind, _ in found} == {"object_unindexed"}
    else:
        assert (("object_changed" if "cut" in what or "changed" in what else "object_missing"), key) in found
    assert house.repair() == 0 and house.work() == 1
    assert house.repair() == 0 and house.found() == [], "losers of the second encode are orphans and go"


def test_a_repair_that_fails_for_good_leaves_what_plays_as_it_was_and_says_so_at_its_job(house: House) -> None:
    def face() -> tuple[object, ...]:
        with db.reading(house.services) as s:
            asset, version = s.get_one(Asset, house.asset_id), s.get_one(Version, house.version_id)
            told = (version.processing, version.playable, version.stage, version.path, version.error)
            return (*told, version.available_s, asset.live_version_id, len(versions.renditions(s, version.id)))

    store, before = house.services.store, face()
    store.delete(segment := house.key(ending=".m4s"))
    assert house.repair() == 0
    store.put(house.source, b"no film any more", type="video/mp4")
    with db.reading(house.services) as s:
        (job,) = waiting.due(s)
    assert face() == before, "while it waits"
    assert house.work() == 1
    with db.reading(house.services) as s:
        ended = jobs.get(s, job.id)
        told = [event.type for event in s.query(Event)]
    assert (ended.state, (ended.error or {})["retryable"]) == ("failed", False)
    assert face() == before and before[:3] == ("ready", True, "final")
    assert "asset.errored" not in told, "the film did not fail"
    assert ("object_missing", segment) in house.found()
    with db.session(house.services) as s:
        jobs.requeue(s, job.id)
    assert face() == before, "when somebody tries again"


def test_without_hashes_only_sizes_are_compared(house: House) -> None:
    key = house.key(ending=".m4s")
    data = house.services.store.read(key)
    house.services.store.put(key, data[:-1] + bytes([data[-1] ^ 1]), type="video/mp4")
    assert house.found(hashes=False) == []
    assert house.found() == [("object_changed", key)]


def test_a_package_is_not_made_again_when_its_upload_is_lost_too(house: House) -> None:
    house.services.store.delete(house.source)
    segment = house.key(ending=".m4s")
    house.services.store.delete(segment)
    assert sorted(house.found())[-1] == ("source_missing", house.source)
    assert house.repair() == len(house.found()) and house.work() == 0


def test_an_upload_that_changed_is_told(house: House) -> None:
    data = house.services.store.read(house.source)
    house.services.store.put(house.source, data[:-1] + bytes([data[-1] ^ 1]), type="video/mp4")
    assert house.found() == [("source_changed", house.source)]
    assert house.repair() == 1


def test_objects_nobody_knows_of_are_removed_but_not_young_or_foreign_ones(house: House) -> None:
    store, other = house.services.store, ids.new("ast")
    orphans = [
        f"{house.path}/v90-9k/0000-deadbeef/000000.m4s",
        f"{house.asset_id}/otherversion/master.m3u8",
        f"{other}/version/master.m3u8",
        f"sources/{other}/{ids.new('upl')}",
        f"sources/{house.asset_id}/{ids.new('upl')}",
    ]
    for key in (*orphans, "somebody/elses.txt"):
        store.put(key, b"?", type="text/plain")
    assert sorted(house.found()) == sorted([*(("orphan", key) for key in orphans), ("stranger", "somebody/elses.txt")])
    young = {d.subject for d in fsck.check(house.services)}
    assert young == {orphans[0]}, "in a package that is ready nothing is under way; all else may be"
    assert house.repair() == 1
    assert house.found() == [("stranger", "somebody/elses.txt")]


def test_what_a_version_has_made_before_it_failed_is_kept(house: House) -> None:
    def failed(asset: Asset, version: Version) -> None:
        version.processing, version.playable, version.path, asset.live_version_id = (
            Processing.ERRORED,
            False,
            None,
            None,
        )

    house.change(failed)
    assert house.found() == []


def test_a_version_that_nobody_makes_gets_a_job(house: House) -> None:
    house.change(lambda asset, version: setattr(version, "processing", Processing.ENCODING))
    assert house.found() == [("no_job", house.version_id)]
    assert house.repair() == 0
    assert house.found() == [], "its job is at work"
    assert house.work() == 1 and house.found() == []


def test_a_pointer_at_what_does_not_play_is_moved(house: House) -> None:
    def dead(asset: Asset, version: Version) -> None:
        version.playable, version.processing = False, Processing.ERRORED

    house.change(dead)
    assert house.found() == [("dead_pointer", house.asset_id)]
    assert house.repair() == 0 and house.found() == []
    with db.reading(house.services) as s:
        assert s.get_one(Asset, house.asset_id).live_version_id is None


def test_a_deleted_film_without_a_job_is_removed(house: House) -> None:
    house.change(lambda asset, version: setattr(asset, "deleted_at", db.now()))
    assert house.found() == [("not_removed", house.asset_id)]
    assert house.repair() == 0 and house.work() == 1
    assert house.found() == [] and list(house.services.store.list("")) == []


def test_versions_share_a_source_and_a_deleted_one_is_removed_alone(house: House) -> None:
    store = house.services.store
    other = f"{house.asset_id}/other"
    for info in list(store.list(f"{house.path}/")):
        store.copy(info.key, other + info.key.removeprefix(house.path))
    with db.session(house.services) as s:
        first = s.get_one(Version, house.version_id)
        source = Source(first.source_key, first.source_name, first.source_size, first.source_sha256)
        second = versions.create(s, house.asset_id, source)
        made = transcode.facts(replace(house.package, prefix=other))
        versions.publish(s, second.id, made)
    assert house.found() == []
    house.change(lambda asset, version: setattr(version, "deleted_at", db.now()))
    assert house.found() == [("not_removed", house.version_id)]
    assert house.repair() == 0 and house.work() == 1
    assert house.found() == [] and not list(store.list(f"{house.path}/"))
    store.put(f"{house.path}/master.m3u8", b"?", type="text/plain")
    assert house.found() == [("orphan", f"{house.path}/master.m3u8")]
    store.delete(house.source)
    assert house.found()[0] == ("source_missing", house.source), "the second one's, too"


def test_an_upload_that_became_no_film_is_told(house: House) -> None:
    house.change(lambda asset, version: setattr(version, "source_key", "sources/elsewhere"))
    kinds = {kind for kind, _ in house.found()}
    assert kinds == {"upload_without_film", "source_missing", "orphan"}


def test_what_is_printed_says_what_to_do(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.services.store.delete(house.source)
    house.services.store.put(f"{house.asset_id}/other/master.m3u8", b"?", type="text/plain")
    assert fsck_report.run(house.services, repair=False, hashes=True, settled_s=-1, as_json=False) == 2
    printed = capsys.readouterr().out
    assert (
        "This needs a person." in printed
        and "With --repair it will be removed." in printed
        and "2 differences." in printed
    )
    fsck_report.run(house.services, repair=True, hashes=True, settled_s=-1, as_json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(line["kind"], line["repairable"], line["mended"]) for line in told} == {
        ("source_missing", False, False),
        ("orphan", True, True),
    }


def test_the_upload_alone_is_left_when_a_job_is_open(house: House) -> None:
    with db.session(house.services) as s:
        job: Job = jobs.enqueue(s, "transcode", house.version_id, max_attempts=1)
    house.services.store.delete(house.key(ending=".m4s"))
    assert house.found() == [], job.id
