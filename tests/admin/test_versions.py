"""The versions of a film on its page: replaced, encoded again, published back and forth, deleted."""

import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from streamer import db
from streamer.catalog import versions
from streamer.catalog.tables import Asset, Version
from tests.admin.rows import put_film
from tests.admin.test_access import faults_of
from tests.house import House, Visitor
from tests.streamer.ingest.filmserver import FilmServer, says
from tests.streamer.site_under_test import facts

LONG = "a_name_without_a_place_to_break_" * 6 + ".mov"


def add(house: House, asset_id: str, name: str, **values: Any) -> str:
    """Another version of a film; published unless `values` say what became of it."""
    time.sleep(0.002)
    with db.session(house.services) as s:
        made = versions.create(s, asset_id, versions.Source("sources/none/none", name, 1_500_000, "cd" * 32))
        if not values:
            versions.publish(s, made.id, facts(f"{asset_id}/{made.id[4:]}", poster=False))
        for field, value in values.items():
            setattr(made, field, value)
        return made.id


def live(house: House, asset_id: str) -> str | None:
    with db.reading(house.services) as s:
        return s.get_one(Asset, asset_id).live_version_id


def shown(page: Page, text: str) -> Locator:
    return page.locator("[data-versions] .version").filter(has_text=text)


def test_a_version_is_rolled_back_published_again_and_deleted(editor: Visitor, house: House) -> None:
    editor.refusals_allowed = True  # these films have no files to play
    asset_id, first, _ = put_film(house, "Cut twice", "queued", source_name="first.mov")
    with db.session(house.services) as s:
        versions.publish(s, first, facts(f"{asset_id}/one", poster=False))
    second = add(house, asset_id, "second.mov")
    add(
        house,
        asset_id,
        LONG,
        processing="errored",
        error={"title": "Broken", "detail": "It ends in the middle.", "retryable": False},
    )
    page = editor.go(f"/admin/assets/{asset_id}")
    expect(shown(page, "second.mov")).to_contain_text("Live")
    expect(shown(page, LONG[:20])).to_contain_text("It ends in the middle.")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    shown(page, "first.mov").get_by_role("button", name="Roll back to this").click()
    page.get_by_role("dialog", name="Make this version live?").get_by_role("button", name="Make it live").click()
    expect(shown(page, "first.mov")).to_contain_text("Live")
    assert live(house, asset_id) == first

    shown(page, "second.mov").get_by_role("button", name="Publish").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert live(house, asset_id) == first
    shown(page, "second.mov").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete this version?").get_by_role("button", name="Delete").click()
    expect(shown(page, "second.mov")).to_have_count(0)
    with db.reading(house.services) as s:
        assert s.get_one(Version, second).deleted_at is not None


def test_a_file_is_encoded_again_with_the_options_that_were_chosen(editor: Visitor, house: House) -> None:
    editor.refusals_allowed = True
    asset_id, version_id, _ = put_film(house, "Too large", "errored", source_name="large.mov")
    page = editor.go(f"/admin/assets/{asset_id}")
    page.get_by_role("button", name="Encode again").click()
    dialog = page.get_by_role("dialog", name="Encode this file again")
    dialog.get_by_label("Largest quality").select_option("720p")
    dialog.get_by_label("Loudness").select_option("Leave it as it is")
    dialog.get_by_label("Use the file's own picture").uncheck()
    dialog.get_by_role("button", name="Encode", exact=True).click()
    expect(shown(page, "Encoded again: 720p at most, loudness left as it is, every quality encoded")).to_be_visible()
    with house.api() as api:
        newest, _ = api.get(f"/assets/{asset_id}/versions").json()["data"]
    assert newest["options"] == {"max_short_side": 720, "loudness_lufs": 0, "passthrough": False}


def test_another_file_is_sent_from_the_page_and_what_plays_goes_on_playing_until_it_is_whole(
    editor: Visitor, house: House, tmp_path: Path
) -> None:
    editor.refusals_allowed = True
    asset_id, first, _ = put_film(house, "Recut", "queued", source_name="first.mov")
    with db.session(house.services) as s:
        versions.publish(s, first, facts(f"{asset_id}/one", poster=False))
    empty, poem = tmp_path / "empty.mp4", tmp_path / "poem.mp4"
    empty.touch()
    poem.write_text("no film at all\n" * 1000)
    page = editor.go(f"/admin/assets/{asset_id}")
    page.locator("[data-versions] input[type=file]").set_input_files(empty)
    expect(page.locator("[data-sending]")).to_contain_text("This file is empty.")
    page.locator("[data-versions] input[type=file]").set_input_files(poem)
    expect(shown(page, "poem.mp4")).to_be_visible(timeout=20_000)
    expect(page.locator("[data-sending]")).to_be_hidden()
    expect(shown(page, "poem.mp4")).to_contain_text("Failed", timeout=60_000)
    expect(shown(page, "first.mov")).to_contain_text("Live")
    expect(page.get_by_text("Update failed", exact=True)).to_be_visible()
    expect(page.get_by_label("Title")).to_have_value("Recut")


def test_a_films_file_comes_from_a_web_address_and_is_followed_after_a_reload_too(
    editor: Visitor, house: House
) -> None:
    editor.refusals_allowed = True
    asset_id, first, _ = put_film(house, "Recut elsewhere", "queued", source_name="first.mov")
    with db.session(house.services) as s:
        versions.publish(s, first, facts(f"{asset_id}/one", poster=False))
    page = editor.go(f"/admin/assets/{asset_id}")
    sending, dialog = page.locator("[data-sending]"), page.get_by_role("dialog", name="Replace the file")

    def ask(url: str) -> None:
        if not dialog.is_visible():
            page.get_by_role("button", name="From a web address").click()
        dialog.get_by_label("Address of the file itself").fill(url)
        dialog.get_by_role("button", name="Import").click()

    ask("ftp://example.org/film.mp4")
    expect(dialog.get_by_role("alert")).to_contain_text("it must begin with https://")
    with FilmServer(b"no film at all\n" * 100_000, pause_s=0.25) as server:
        server.answers = [says(404)]
        ask(server.url)
        expect(sending).to_contain_text("The other server answered 404", timeout=20_000)
        sending.get_by_role("button", name="Remove this message").click()
        expect(sending).to_be_hidden()
        ask(server.url)
        expect(sending).to_contain_text("My film.mp4")
        page.reload()
        expect(sending).to_contain_text("My film.mp4")
        expect(page.get_by_role("button", name="Replace file")).to_be_disabled()
        expect(shown(page, "My film.mp4")).to_be_visible(timeout=30_000)
    expect(sending).to_be_hidden()
    expect(shown(page, "first.mov")).to_contain_text("Live")


@pytest.mark.parametrize("width", [390, 1280])
def test_versions_fit_their_page_and_their_buttons_say_whose_they_are(
    editor: Visitor, house: House, width: int
) -> None:
    editor.refusals_allowed = True
    asset_id, first, _ = put_film(house, "Long names", "queued", source_name=LONG)
    with db.session(house.services) as s:
        versions.publish(s, first, facts(f"{asset_id}/one", poster=False))
    add(
        house, asset_id, "b.mov", processing="encoding", options={"ladder": [{"short_side": 720, "max_kbps": 3000}] * 9}
    )
    editor.page.set_viewport_size({"width": width, "height": 844})
    page = editor.go(f"/admin/assets/{asset_id}")
    expect(shown(page, "b.mov")).to_contain_text("Becomes live by itself when it is ready.")
    assert faults_of(page) == []
    names = page.get_by_role("button", name="Encode again").evaluate_all("all => all.map((one) => one.innerText)")
    assert len(names) == 2 and LONG in names[1]


def test_a_version_names_who_made_it(editor: Visitor, house: House) -> None:
    editor.refusals_allowed = True
    asset_id, _, _ = put_film(house, "Signed", "errored")
    with house.api() as api:
        made = api.post(f"/assets/{asset_id}/versions", json={}).json()
    assert made["created_by"]["name"] == "Ada Lovelace"
    expect(shown(editor.go(f"/admin/assets/{asset_id}"), "by Ada Lovelace")).to_be_visible()
