"""The same bytes a second time: another film unless the sender wants to be asked, and then their decision."""

import hashlib
import os
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from streamer import db
from streamer.catalog.tables import Asset, Version
from streamer.db import database_now
from streamer.events.tables import Event
from streamer.ingest import held
from streamer.ingest.tables import Upload
from streamer.ops import fsck
from tests.streamer.ingest.tus.client import Tus, metadata
from tests.streamer.site_under_test import Site

FILM = os.urandom(50_000)


def post(
    site: Site, role: str = "editor", content: bytes = FILM, scopes: tuple[str, ...] = ("*",), **query: str
) -> Any:
    answer = site.as_(role, scopes=scopes).post("/uploads", params={"filename": "film.mp4", **query}, content=content)
    assert answer.status_code in (201, 202), answer.text
    return answer.json()


def held_upload(site: Site, **query: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A film, and the upload of the same bytes that is held back because of it."""
    first = post(site, title="The first")["asset"]
    again = post(site, on_duplicate="offer", title="The second", policy="public", **query)
    assert (again["asset"], again["job"], again["upload"]["state"]) == (None, None, "held")
    return first, again["upload"]


def _fail(site: Site, asset_id: str) -> None:
    """What the last try of an encode does."""
    with db.session(site.services) as s:
        version = s.scalars(select(Version).where(Version.asset_id == asset_id)).one()
        version.processing, version.error = "errored", {"retryable": False}


def stored(site: Site) -> list[str]:
    return [info.key for info in site.services.store.list("sources/")]


def test_programs_that_do_not_ask_get_a_film_each_time(site: Site) -> None:
    films = [post(site)["asset"]["id"] for _ in range(2)]
    assert len(set(films)) == 2


def test_who_asks_is_told_of_the_film_and_keeps_the_second_one_anyway(site: Site) -> None:
    first, upload = held_upload(site)
    editor = site.as_("editor")
    assert upload["duplicate_of"] == {"asset_id": first["id"], "title": "The first"}
    assert (upload["received"], upload["sha256"]) == (len(FILM), hashlib.sha256(FILM).hexdigest())
    assert editor.get("/uploads", params={"state": "held"}).json()["data"] == [upload]
    with db.reading(site.services) as s:
        kinds = [event.type for event in s.query(Event).order_by(Event.entry)]
    assert kinds[-1] == "upload.held" and len(stored(site)) == 2
    assert list(fsck.check(site.services, hashes=False, settled_s=-1)) == [], "what waits for a decision is no orphan"
    kept = editor.post(f"/uploads/{upload['id']}/keep")
    assert kept.status_code == 201 and kept.headers["location"] == f"/api/v1/assets/{kept.json()['asset']['id']}"
    asset = kept.json()["asset"]
    assert (asset["title"], asset["processing"], asset["playback_ids"][0]["policy"]) == (
        "The second",
        "queued",
        "public",
    )
    assert kept.json()["upload"]["asset_id"] == asset["id"] != first["id"]
    for decision in ("keep", "discard"):
        answer = editor.post(f"/uploads/{upload['id']}/{decision}")
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_not_held")


def test_a_discarded_one_leaves_nothing_and_is_nobody_elses_to_decide(site: Site) -> None:
    first, upload = held_upload(site)
    assert site.as_("admin").post(f"/uploads/{upload['id']}/discard").status_code == 404
    dropped = site.as_("editor").post(f"/uploads/{upload['id']}/discard").json()
    assert (dropped["state"], dropped["error"]["code"]) == ("failed", "duplicate_discarded")
    assert len(stored(site)) == 1 and first["id"] in stored(site)[0]


def test_only_films_that_the_sender_may_list_are_offered(site: Site) -> None:
    post(site, role="admin")
    mine = ("uploads:create",)
    assert post(site, on_duplicate="offer", scopes=mine)["asset"], "a key that may not list everyone's films"
    with db.session(site.services) as s:
        s.execute(update(Asset).where(Asset.owner_id == site.user("editor").id).values(deleted_at=database_now()))
    assert post(site, on_duplicate="offer")["upload"]["state"] == "held", "an editor lists everyone's"
    with db.session(site.services) as s:
        s.execute(update(Asset).values(deleted_at=database_now()))
    assert post(site, on_duplicate="offer")["asset"], "what is deleted is no film any more"


def test_bytes_of_a_film_that_failed_for_good_are_no_film_already(site: Site) -> None:
    first, upload = held_upload(site)
    _fail(site, first["id"])
    assert post(site, on_duplicate="offer")["upload"]["state"] == "received"
    with db.session(site.services) as s:
        s.execute(update(Upload).where(Upload.id == upload["id"]).values(updated_at=database_now(-8 * 86400)))
    assert held.sweep(site.services) == 1
    kept = site.as_("editor").get(f"/uploads/{upload['id']}").json()
    assert kept["state"] == "received", "what it was held back for never became a film"


def test_resumable_uploads_can_ask_too(site: Site) -> None:
    first = post(site)["asset"]
    tus = Tus(site.as_("editor"))
    path = tus.new(len(FILM), upload_metadata=metadata(filename="again.mp4", on_duplicate="offer"))
    assert tus.patch(path, 0, FILM).status_code == 204
    upload = tus.upload(path)
    assert (upload["state"], upload["duplicate_of"]["asset_id"]) == ("held", first["id"])
    assert tus.offset(path) == len(FILM)
    assert list(site.services.config.uploads_dir.iterdir()) == []
    assert tus.ask("DELETE", path).status_code == 204
    assert tus.upload(path)["error"]["code"] == "duplicate_discarded" and len(stored(site)) == 1


def test_what_nobody_decides_goes_unless_the_other_film_is_gone(site: Site) -> None:
    first, upload = held_upload(site)
    assert held.sweep(site.services) == 0
    other = post(site, on_duplicate="offer")["upload"]
    with db.session(site.services) as s:
        s.execute(update(Upload).where(Upload.state == "held").values(updated_at=database_now(-8 * 86400)))
        s.execute(update(Upload).where(Upload.id == other["id"]).values(duplicate_of="ast_00000000000000000000"))
    assert (held.sweep(site.services), held.sweep(site.services)) == (2, 0)
    editor = site.as_("editor")
    states = [editor.get(f"/uploads/{one['id']}").json()["state"] for one in (upload, other)]
    assert states == ["failed", "received"]


@pytest.mark.parametrize("query", [{"on_duplicate": "replace"}, {"on_duplicate": "offer_any"}])
def test_another_choice_is_refused(site: Site, query: dict[str, str]) -> None:
    answer: httpx2.Response = site.as_("editor").post("/uploads", params=query, content=FILM)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/on_duplicate")
