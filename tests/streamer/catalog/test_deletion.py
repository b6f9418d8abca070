import pytest

from streamer import db
from streamer.accounts import users
from streamer.catalog import assets, deletion, versions
from streamer.catalog.tables import Asset, Version
from streamer.catalog.versions import Source
from streamer.errors import Conflict
from streamer.jobs import jobs, runner
from streamer.jobs.tables import Job
from streamer.services import Services


@pytest.fixture
def film(services: Services) -> Asset:
    with db.session(services) as s:
        owner = users.create(
            s, services.config.accounts, email="a@example.org", name="A", role="editor", password="a good one"
        )
        film = assets.create(s, owner.id, "Film")
    for key in (f"{film.id}/v1/master.m3u8", f"{film.id}/v1/v360-365k/0000-a/000000.m4s", f"sources/{film.id}/upl_1"):
        services.store.put(key, b"bytes", type="application/octet-stream")
    services.store.put(f"{film.id}0/v1/master.m3u8", b"a neighbour's", type="text/plain")
    return film


def encoding(services: Services, film: Asset) -> tuple[Version, Job]:
    with db.session(services) as s:
        version = versions.create(s, film.id, Source(f"sources/{film.id}/upl_1", "film.mp4", 5, "ab" * 32))
        return version, jobs.enqueue(s, "transcode", version.id, max_attempts=3)


def delete(services: Services, film: Asset) -> Job:
    with db.session(services) as s:
        return assets.delete(s, s.get_one(Asset, film.id))


def read(services: Services, job: Job) -> Job:
    with db.reading(services) as s:
        return jobs.get(s, job.id)


def test_every_object_of_a_deleted_film_goes_and_no_other(services: Services, film: Asset) -> None:
    job = delete(services, film)
    runner.perform(services, job.id, "w1")
    assert read(services, job).state == "succeeded"
    assert [info.key for info in services.store.list("")] == [f"{film.id}0/v1/master.m3u8"]
    with db.reading(services) as s:
        assert s.get_one(Asset, film.id).purged_at is not None


def test_objects_stay_until_the_encode_has_stopped(services: Services, film: Asset) -> None:
    _, encode = encoding(services, film)
    with db.session(services) as s:
        claim = jobs.claim(s, encode.id, "w1", 20)
    assert claim is not None
    job = delete(services, film)
    runner.perform(services, job.id, "w2")
    waiting = read(services, job)
    assert (waiting.state, waiting.attempt, waiting.error) == ("queued", 1, None)
    assert len(list(services.store.list(f"{film.id}/"))) == 2
    with db.session(services) as s:
        jobs.end_cancelled(s, claim)
        waiting = s.get_one(Job, job.id)
        waiting.run_after = db.now()
    runner.perform(services, job.id, "w2")
    assert read(services, job).state == "succeeded"


def test_a_film_that_is_not_deleted_keeps_its_objects(services: Services, film: Asset) -> None:
    with db.session(services) as s:
        job = jobs.enqueue(s, "delete", film.id, max_attempts=3)
    runner.perform(services, job.id, "w1")
    assert read(services, job).state == "failed"
    assert len(list(services.store.list(film.id))) == 3


def test_deleting_twice_does_no_harm(services: Services, film: Asset) -> None:
    for _ in range(2):
        job = delete(services, film)
        runner.perform(services, job.id, "w1")
        assert read(services, job).state == "succeeded"


def test_a_removal_can_not_be_cancelled_and_goes_before_encodes(services: Services, film: Asset) -> None:
    job = delete(services, film)
    with pytest.raises(Conflict, match="cancelled"), db.session(services) as s:
        jobs.cancel(s, job.id)
    assert read(services, job).state == "queued" and job.priority > 0


def test_a_removal_that_was_given_up_is_taken_up_again(services: Services, film: Asset) -> None:
    assert deletion.resume(services) == 0
    job = delete(services, film)
    assert deletion.resume(services) == 0, "one is under way"
    with db.session(services) as s:
        s.get_one(Job, job.id).state = "failed"
    assert deletion.resume(services) == 1
    with db.reading(services) as s:
        (again,) = jobs.unfinished_of(s, [film.id])
    runner.perform(services, again.id, "w1")
    assert read(services, again).state == "succeeded" and deletion.resume(services) == 0
