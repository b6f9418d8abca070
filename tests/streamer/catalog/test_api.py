import httpx2
import pytest
from sqlalchemy import update

from streamer import db
from streamer.catalog import playback_ids, versions
from streamer.catalog.tables import Asset, Policy, Processing, Stage
from streamer.catalog.versions import Growth
from streamer.jobs import jobs, progress
from streamer.jobs.errors import TaskFailed
from streamer.jobs.progress import Progress
from streamer.jobs.tables import Job
from tests.streamer.site_under_test import Site
from tests.web import NO_TLS


def test_a_film_is_shown_with_its_state_its_source_and_its_names(site: Site) -> None:
    asset, version, job = site.film(site.user("editor"), "Füchse <b>")
    shown = site.as_("editor").get(f"/assets/{asset.id}").json()
    assert shown.pop("created_at") == shown.pop("updated_at")
    (name,) = shown.pop("playback_ids")
    assert name["policy"] == "private" and name["id"].startswith("plb_")
    assert shown == {
        "id": asset.id,
        "owner_id": site.user("editor").id,
        "title": "Füchse <b>",
        "publication": "published",
        "live_version_id": None,
        "processing": "queued",
        "playable": False,
        "stage": None,
        "available_s": None,
        "progress": {"stage": "queued", "percent": 0.0, "eta_s": None, "speed": None},
        "error": None,
        "duration_s": None,
        "width": None,
        "height": None,
        "poster_url": None,
        "source": {"name": "film.mp4", "size": 11, "sha256": "ab" * 32},
        "job_id": job.id,
        "version_id": version.id,
    }


def test_progress_comes_from_the_running_job(site: Site) -> None:
    asset, _, job = site.film(site.user("editor"))
    progress.write(site.services.kv_sync, job.id, Progress("encoding", 40.0, 12.0, 2.5))
    with db.session(site.services) as s:
        s.execute(update(Job).where(Job.id == job.id).values(state="running"))
        versions.advance(s, job.subject_id, Processing.ENCODING)
    shown = site.as_("editor").get(f"/assets/{asset.id}").json()
    assert shown["progress"] == {"stage": "encoding", "percent": 40.0, "eta_s": 12.0, "speed": 2.5}


def test_a_published_film_plays_and_shows_its_facts(site: Site) -> None:
    asset, version, job = site.film(site.user("editor"))
    site.publish(version, job)
    shown = site.as_("editor").get(f"/assets/{asset.id}").json()
    assert (shown["processing"], shown["playable"], shown["progress"], shown["error"]) == ("ready", True, None, None)
    assert (shown["duration_s"], shown["width"], shown["height"]) == (12.5, 1280, 720)
    assert (shown["stage"], shown["available_s"]) == ("final", 12.5)
    assert "poster.jpg" in shown["poster_url"]
    renditions = site.as_("editor").get(f"/assets/{asset.id}/renditions").json()["data"]
    assert [one["name"] for one in renditions] == ["v720-3000k", "v360-365k", "a1-48k"]
    assert renditions[0]["frame_rate"] == "30000/1001"


def test_a_film_that_grows_plays_while_it_is_made(site: Site) -> None:
    asset, version, _ = site.film(site.user("editor"))
    with db.session(site.services) as s:
        versions.advance(s, version.id, Processing.ENCODING)
        versions.grow(s, version.id, Growth(Stage.START, f"{asset.id}/v1", 6.0, 60.0, 640, 360, poster=True))
    shown = site.as_("editor").get(f"/assets/{asset.id}").json()
    assert (shown["processing"], shown["playable"], shown["stage"]) == ("encoding", True, "start")
    assert (shown["available_s"], shown["duration_s"], shown["height"]) == (6.0, 60.0, 360)
    assert f"{asset.id}/v1/poster.jpg" in shown["poster_url"]


def test_an_error_is_explained_with_its_next_try(site: Site) -> None:
    asset, _, job = site.film(site.user("editor"))
    with db.session(site.services) as s:
        claim = jobs.claim(s, job.id, "w1", 20)
        assert claim is not None
        failure = TaskFailed("decoder_crashed", "The decoder crashed", "It crashed.", retryable=True)
        jobs.fail(s, claim, failure, site.services.config.jobs)
    shown = site.as_("editor").get(f"/assets/{asset.id}").json()
    assert shown["processing"] == "queued"
    assert shown["error"]["code"] == "decoder_crashed" and shown["error"]["next_retry_at"]


def test_lists_are_paged_by_key_and_searched_by_title(site: Site) -> None:
    owner = site.user("editor")
    made = [site.film(owner, f"Film {n}")[0].id for n in range(5)]
    client = site.as_("editor")
    seen, cursor = [], ""
    while True:
        page = client.get("/assets", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [one["id"] for one in page["data"]]
        if not (cursor := page["next_cursor"]):
            break
    assert seen == sorted(made, reverse=True)
    site.film(owner, "100 % true_story")
    for text, found in (
        ("film 3", ["Film 3"]),
        ("%", []),
        ("story 10", ["100 % true_story"]),
        ("ü" * 300, []),
    ):
        assert [one["title"] for one in client.get("/assets", params={"q": text}).json()["data"]] == found


@pytest.mark.parametrize("query", ["cursor=ü", "cursor=1", "limit=0", "limit=201", "limit=x", "limit=%00"])
def test_strange_pages_are_refused_with_a_sentence(site: Site, query: str) -> None:
    answer = site.as_("editor").get(f"/assets?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_owners_see_their_own_and_editors_see_all(site: Site) -> None:
    mine, _, _ = site.film(site.user("viewer"), "Mine")
    theirs, _, _ = site.film(site.user("viewer", name="other"), "Theirs")
    assert [one["id"] for one in site.as_("viewer").get("/assets").json()["data"]] == [mine.id]
    for role in ("editor", "admin"):
        assert {one["id"] for one in site.as_(role).get("/assets").json()["data"]} == {mine.id, theirs.id}


def test_a_viewer_changes_only_their_own(site: Site) -> None:
    mine, _, _ = site.film(site.user("viewer"))
    theirs, _, _ = site.film(site.user("viewer", name="other"))
    client = site.as_("viewer")
    assert client.patch(f"/assets/{mine.id}", json={"title": "New"}).json()["title"] == "New"
    for answer in (
        client.patch(f"/assets/{theirs.id}", json={"title": "New"}),
        client.delete(f"/assets/{theirs.id}"),
        client.post(f"/assets/{theirs.id}/playback-ids", json={}),
    ):
        assert answer.status_code == 403


def test_a_key_for_uploads_only_changes_nothing(site: Site) -> None:
    mine, _, job = site.film(site.user("editor"))
    narrow = site.as_("editor", scopes=("uploads:create",))
    assert narrow.get(f"/assets/{mine.id}").status_code == 200
    assert narrow.delete(f"/assets/{mine.id}").status_code == 403
    assert narrow.post(f"/jobs/{job.id}/cancel").status_code == 403


def test_nobody_gets_in_without_a_key(site: Site) -> None:
    asset, _, job = site.film(site.user("editor"))
    for method, path in (
        ("GET", "/assets"),
        ("GET", f"/assets/{asset.id}"),
        ("PATCH", f"/assets/{asset.id}"),
        ("DELETE", f"/assets/{asset.id}"),
        ("GET", f"/assets/{asset.id}/renditions"),
        ("POST", f"/assets/{asset.id}/playback-ids"),
        ("GET", "/jobs"),
        ("GET", f"/jobs/{job.id}"),
        ("POST", f"/jobs/{job.id}/cancel"),
        ("POST", f"/jobs/{job.id}/retry"),
        ("POST", "/uploads"),
    ):
        assert httpx2.request(method, f"{site.base}/api/v1{path}", verify=NO_TLS).status_code == 401, (method, path)


@pytest.mark.parametrize("hostile", ["ast_none", "%C3%BC", "ast_" + "0" * 5000, "..%2F..", "%00", "' OR 1=1"])
def test_unknown_and_hostile_ids_are_not_found(site: Site, hostile: str) -> None:
    for path in (f"/assets/{hostile}", f"/jobs/{hostile}", f"/uploads/{hostile}"):
        assert site.as_("admin").get(path).status_code == 404


def test_titles_are_cleaned_and_limited(site: Site) -> None:
    asset, _, _ = site.film(site.user("editor"))
    client = site.as_("editor")
    changed = client.patch(f"/assets/{asset.id}", json={"title": "  A\u202etitle\n<script>alert(1)</script>\x00 "})
    assert changed.json()["title"] == "A title <script>alert(1)</script>"
    for bad in ("", "   ", "\u200e", "x" * 201, 5, ["x"]):
        assert client.patch(f"/assets/{asset.id}", json={"title": bad}).status_code == 400, bad


def test_publication_is_one_of_the_known(site: Site) -> None:
    asset, _, _ = site.film(site.user("editor"))
    client = site.as_("editor")
    assert client.patch(f"/assets/{asset.id}", json={"publication": "draft"}).json()["publication"] == "draft"
    for bad in ({"publication": "removed"}, {"publication": "x"}, {"owner_id": "usr_1"}, []):
        assert client.patch(f"/assets/{asset.id}", json=bad).status_code == 400


def test_playback_ids_are_made_and_revoked(site: Site) -> None:
    asset, _, _ = site.film(site.user("editor"))
    client = site.as_("editor")
    made = client.post(f"/assets/{asset.id}/playback-ids", json={"policy": "public"})
    assert (made.status_code, made.json()["policy"]) == (201, "public")
    listed = client.get(f"/assets/{asset.id}/playback-ids").json()["data"]
    assert [one["policy"] for one in listed] == ["private", "public"]
    assert client.delete(f"/assets/{asset.id}/playback-ids/{made.json()['id']}").status_code == 204
    assert client.delete(f"/assets/{asset.id}/playback-ids/{made.json()['id']}").status_code == 404
    assert len(client.get(f"/assets/{asset.id}").json()["playback_ids"]) == 1


def test_a_deleted_film_is_gone_at_once_with_its_names_and_its_encode(site: Site) -> None:
    asset, _, job = site.film(site.user("editor"), policy=Policy.PUBLIC)
    client = site.as_("editor")
    answer = client.delete(f"/assets/{asset.id}")
    assert answer.status_code == 202
    assert client.get(f"/assets/{asset.id}").status_code == 404
    assert client.delete(f"/assets/{asset.id}").status_code == 404
    assert client.get("/assets").json()["data"] == []
    assert client.get(f"/jobs/{job.id}").json()["state"] == "cancelled"
    removal = client.get(f"/jobs/{answer.json()['job_id']}").json()
    assert (removal["kind"], removal["subject_id"], removal["state"]) == ("delete", asset.id, "queued")
    with db.reading(site.services) as s:
        assert playback_ids.of(s, [asset.id]) == {}


def test_jobs_are_listed_by_state_and_subject(site: Site) -> None:
    _, version, job = site.film(site.user("editor"))
    _, _, other = site.film(site.user("viewer"))
    client = site.as_("editor")
    assert {one["id"] for one in client.get("/jobs").json()["data"]} == {job.id, other.id}
    assert [one["id"] for one in client.get(f"/jobs?subject_id={version.id}").json()["data"]] == [job.id]
    assert client.get("/jobs?state=running").json()["data"] == []
    assert client.get("/jobs?state=x").status_code == 400
    assert client.get("/jobs?subject_id=ü").json()["data"] == []
    assert [one["id"] for one in site.as_("viewer").get("/jobs").json()["data"]] == [other.id]
    assert site.as_("viewer").get(f"/jobs/{job.id}").status_code == 404


def test_a_job_is_cancelled_and_started_again_and_its_film_follows(site: Site) -> None:
    asset, _, job = site.film(site.user("editor"))
    client = site.as_("editor")
    assert client.post(f"/jobs/{job.id}/retry").status_code == 409
    assert client.post(f"/jobs/{job.id}/cancel").json()["state"] == "cancelled"
    assert client.get(f"/assets/{asset.id}").json()["processing"] == "cancelled"
    assert client.post(f"/jobs/{job.id}/retry").json()["state"] == "queued"
    assert client.get(f"/assets/{asset.id}").json()["processing"] == "queued"
    assert site.services.kv_sync.llen("rq:queue:streamer") == 1


def test_without_redis_films_are_shown_without_progress(site: Site) -> None:
    asset, _, job = site.film(site.user("editor"))
    with db.session(site.services) as s:
        s.execute(update(Asset).where(Asset.id == asset.id).values(title="Seen"))
    site.services.kv_sync.set(f"job:{job.id}", "not a hash")
    assert site.as_("editor").get(f"/assets/{asset.id}").json()["progress"]["percent"] == 0


@pytest.mark.parametrize("publication", ["draft", "archived"])
def test_what_is_not_out_is_shown_to_its_owner_and_to_editors_only(site: Site, publication: str) -> None:
    asset, _, _ = site.film(site.user("editor"))
    assert site.as_("viewer").get(f"/assets/{asset.id}").status_code == 200
    site.as_("editor").patch(f"/assets/{asset.id}", json={"publication": publication})
    for path in ("", "/renditions", "/playback-ids"):
        assert site.as_("viewer").get(f"/assets/{asset.id}{path}").status_code == 404
    assert site.as_("editor", name="other").get(f"/assets/{asset.id}").status_code == 200
