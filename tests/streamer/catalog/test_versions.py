import pytest

from streamer import db
from streamer.accounts import users
from streamer.accounts.tables import User
from streamer.catalog import assets, versions
from streamer.catalog.tables import Asset, Processing, Stage, Version
from streamer.catalog.versions import Growth, Source
from streamer.jobs import jobs
from streamer.jobs.errors import LeaseLost, TaskFailed
from streamer.jobs.jobs import Claim
from streamer.jobs.tables import Job
from streamer.services import Services
from tests.streamer.site_under_test import facts

SOURCE = Source("sources/x/y", "film.mp4", 11, "ab" * 32)


@pytest.fixture
def owner(services: Services) -> User:
    with db.session(services) as s:
        return users.create(
            s, services.config.accounts, email="a@example.org", name="A", role="editor", password="a good one"
        )


@pytest.fixture
def film(services: Services, owner: User) -> Asset:
    with db.session(services) as s:
        return assets.create(s, owner.id, "Film")


def encode(services: Services, film: Asset) -> tuple[Version, Job, Claim]:
    """A version whose transcode is running."""
    with db.session(services) as s:
        version = versions.create(s, film.id, SOURCE)
        job = jobs.enqueue(s, "transcode", version.id, max_attempts=3)
    with db.session(services) as s:
        claim = jobs.claim(s, job.id, "w1", 20)
    assert claim is not None
    return version, job, claim


def publish(services: Services, version: Version, claim: Claim, path: str) -> None:
    with db.session(services) as s:
        versions.publish(s, version.id, facts(path))
        jobs.finish(s, claim)


def live(services: Services, film: Asset) -> str | None:
    with db.reading(services) as s:
        return s.get_one(Asset, film.id).live_version_id


def read(services: Services, version: Version) -> Version:
    with db.reading(services) as s:
        return s.get_one(Version, version.id)


def test_publishing_writes_the_facts_and_moves_the_pointer(services: Services, film: Asset) -> None:
    version, _, claim = encode(services, film)
    publish(services, version, claim, f"{film.id}/v1")
    after = read(services, version)
    assert live(services, film) == version.id
    assert (after.path, after.processing, after.playable, after.report) == (f"{film.id}/v1", "ready", True, {"x": "ü"})
    with db.reading(services) as s:
        assert [one.name for one in versions.renditions(s, version.id)] == ["v720-3000k", "v360-365k", "a1-48k"]


def test_a_stale_worker_never_moves_the_pointer(services: Services, film: Asset) -> None:
    version, job, stale = encode(services, film)
    with db.session(services) as s:
        jobs.lost(s, job.id, stale.fence)
    with pytest.raises(LeaseLost):
        publish(services, version, stale, f"{film.id}/stale")
    assert live(services, film) is None
    assert read(services, version).processing == "queued"
    with db.session(services) as s:
        fresh = jobs.claim(s, job.id, "w2", 20)
    assert fresh is not None
    publish(services, version, fresh, f"{film.id}/v1")
    with pytest.raises(LeaseLost):
        publish(services, version, stale, f"{film.id}/stale")
    assert read(services, version).path == f"{film.id}/v1"


def test_an_older_version_that_ends_late_does_not_replace_a_newer_one(services: Services, film: Asset) -> None:
    older, _, first = encode(services, film)
    newer, _, second = encode(services, film)
    assert older.id != newer.id
    older, newer, first, second = (
        (older, newer, first, second) if older.id < newer.id else (newer, older, second, first)
    )
    publish(services, newer, second, f"{film.id}/v2")
    publish(services, older, first, f"{film.id}/v1")
    assert live(services, film) == newer.id


def test_publishing_again_replaces_the_renditions(services: Services, film: Asset) -> None:
    version, job, claim = encode(services, film)
    with db.session(services) as s:
        versions.publish(s, version.id, facts("x/old"))
        versions.publish(s, version.id, facts(f"{film.id}/v1"))
        jobs.finish(s, claim)
    with db.reading(services) as s:
        assert len(versions.renditions(s, version.id)) == 3


def test_nothing_is_published_for_a_deleted_film(services: Services, film: Asset) -> None:
    version, _, claim = encode(services, film)
    with db.session(services) as s:
        assets.delete(s, s.get_one(Asset, film.id))
    with pytest.raises(TaskFailed, match="asset_deleted"):
        publish(services, version, claim, f"{film.id}/v1")
    assert live(services, film) is None


def test_a_version_follows_its_job(services: Services, film: Asset) -> None:
    version, job, claim = encode(services, film)
    with db.session(services) as s:
        versions.advance(s, version.id, Processing.ENCODING)
    failure = TaskFailed("broken", "Broken", "It broke.", retryable=True)
    with db.session(services) as s:
        jobs.fail(s, claim, failure, services.config.jobs)
    waiting = read(services, version)
    assert waiting.processing == "queued" and waiting.error is not None
    with db.session(services) as s:
        jobs.cancel(s, job.id)
    assert read(services, version).processing == "cancelled"
    with db.session(services) as s:
        jobs.requeue(s, job.id)
    again = read(services, version)
    assert (again.processing, again.error) == ("queued", None)


def grow(services: Services, version: Version, stage: Stage, seconds: float) -> None:
    path = f"{version.asset_id}/v1"
    with db.session(services) as s:
        versions.grow(s, version.id, Growth(stage, path, seconds, 60.0, 640, 360, poster=True))


def test_a_film_plays_from_its_first_stage_and_its_pointer_stays_to_the_end(services: Services, film: Asset) -> None:
    version, _, claim = encode(services, film)
    grow(services, version, Stage.START, 6.0)
    shown = read(services, version)
    assert live(services, film) == version.id
    assert (shown.playable, shown.stage, shown.available_s, shown.duration_s) == (True, "start", 6.0, 60.0)
    assert shown.path == f"{film.id}/v1" and shown.poster and shown.published_at is None
    publish(services, version, claim, f"{film.id}/v1")
    whole = read(services, version)
    assert (whole.stage, whole.available_s, whole.processing) == ("final", whole.duration_s, "ready")


def test_a_stage_never_goes_back(services: Services, film: Asset) -> None:
    version, _, claim = encode(services, film)
    for stage, seconds in ((Stage.START, 6.0), (Stage.GROW, 6.0), (Stage.START, 36.0), (Stage.GROW, 12.0)):
        grow(services, version, stage, seconds)
    assert (read(services, version).stage, read(services, version).available_s) == ("grow", 12.0)
    publish(services, version, claim, f"{film.id}/v1")
    grow(services, version, Stage.GROW, 30.0)
    assert read(services, version).stage == "final"


def test_a_film_that_plays_is_replaced_by_a_whole_one_only(services: Services, film: Asset) -> None:
    old, _, first = encode(services, film)
    publish(services, old, first, f"{film.id}/v0")
    new, _, second = encode(services, film)
    grow(services, new, Stage.START, 6.0)
    assert live(services, film) == old.id
    publish(services, new, second, f"{film.id}/v1")
    assert live(services, film) == max(old.id, new.id)


def test_nothing_of_a_deleted_film_grows(services: Services, film: Asset) -> None:
    version, _, _ = encode(services, film)
    with db.session(services) as s:
        assets.delete(s, s.get_one(Asset, film.id))
    with pytest.raises(TaskFailed, match="asset_deleted"):
        grow(services, version, Stage.START, 6.0)
    assert not read(services, version).playable


def test_what_grew_is_taken_back_when_the_encode_fails_for_good(services: Services, film: Asset) -> None:
    version, job, claim = encode(services, film)
    grow(services, version, Stage.START, 6.0)
    with db.session(services) as s:
        jobs.fail(s, claim, TaskFailed("broken", "Broken", "It broke.", retryable=False), services.config.jobs)
    after = read(services, version)
    assert (after.processing, after.playable, after.stage, after.available_s) == ("errored", False, None, None)
    assert after.path, "those who watch keep what exists"
    assert live(services, film) is None
    with db.session(services) as s:
        jobs.requeue(s, job.id)
    assert not read(services, version).playable
    grow(services, version, Stage.START, 6.0)
    assert live(services, film) == version.id


def test_what_grew_is_taken_back_when_the_encode_is_cancelled(services: Services, film: Asset) -> None:
    version, job, claim = encode(services, film)
    grow(services, version, Stage.GROW, 6.0)
    with db.session(services) as s:
        jobs.cancel(s, job.id)
    assert read(services, version).playable, "its worker has not stopped yet"
    with db.session(services) as s:
        jobs.end_cancelled(s, claim)
    assert not read(services, version).playable and live(services, film) is None


def test_what_grew_stays_while_another_try_or_another_worker_is_coming(services: Services, film: Asset) -> None:
    version, job, claim = encode(services, film)
    grow(services, version, Stage.START, 6.0)
    with db.session(services) as s:
        jobs.fail(s, claim, TaskFailed("broken", "Broken", "It broke.", retryable=True), services.config.jobs)
    assert read(services, version).playable and live(services, film) == version.id
    with db.session(services) as s:
        taken = jobs.claim(s, job.id, "w2", 20)
        assert taken is None or jobs.lost(s, job.id, taken.fence)
    assert read(services, version).playable


def test_taking_back_an_unfinished_version_leaves_the_one_that_plays(services: Services, film: Asset) -> None:
    old, _, first = encode(services, film)
    publish(services, old, first, f"{film.id}/v0")
    new, _, second = encode(services, film)
    grow(services, new, Stage.START, 6.0)
    with db.session(services) as s:
        jobs.fail(s, second, TaskFailed("broken", "Broken", "It broke.", retryable=False), services.config.jobs)
    assert live(services, film) == old.id


def test_a_job_on_nothing_is_followed_by_nothing(services: Services) -> None:
    with db.session(services) as s:
        job = jobs.enqueue(s, "transcode", "ver_0", max_attempts=3)
        assert jobs.cancel(s, job.id).state == "cancelled"
