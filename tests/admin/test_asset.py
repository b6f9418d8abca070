from typing import Any

from playwright.sync_api import expect

from streamer.catalog.tables import Stage
from tests.admin.rows import move, put_film
from tests.house import House, Visitor
from tests.streamer.site.growth import GrowingFilm


def test_a_film_page_shows_its_renditions_links_and_facts(editor: Visitor, film: dict[str, Any]) -> None:
    page = editor.go(f"/admin/assets/{film['id']}")
    table = page.get_by_role("region", name="Renditions").get_by_role("row")
    expect(table.filter(has_text="Video").first).to_contain_text("avc1.")
    expect(table.filter(has_text="Audio").first).to_contain_text("mp4a.40.2")
    expect(page.locator("[data-links]")).to_contain_text(f"/watch/{film['playback_ids'][0]['id']}")
    expect(page.get_by_text("Ready", exact=True).first).to_be_visible()


def test_a_new_title_is_saved_on_leaving_the_field(editor: Visitor, house: House) -> None:
    asset_id, _, _ = put_film(house, "Before", "cancelled")
    page = editor.go(f"/admin/assets/{asset_id}")
    expect(page.get_by_text("Preparing was stopped")).to_be_visible()
    page.get_by_label("Title").fill("After")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Title saved")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Title")).to_have_value("After")


def test_a_failure_is_explained_with_its_words(editor: Visitor, house: House) -> None:
    error = {
        "code": "no_tracks",
        "title": "Nothing to play in it",
        "detail": "It has no picture and no sound.",
        "retryable": False,
        "attempt": 1,
        "next_retry_at": None,
    }
    asset_id, _, _ = put_film(house, "Broken", "errored", error=error)
    page = editor.go(f"/admin/assets/{asset_id}")
    expect(page.get_by_role("alert").filter(has_text="Nothing to play in it")).to_contain_text(
        "It has no picture and no sound."
    )
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()


def test_the_stages_of_preparing_are_followed_without_a_reload(editor: Visitor, house: House) -> None:
    asset_id, version_id, _ = put_film(house, "Going on", "probing")
    page = editor.go(f"/admin/assets/{asset_id}")
    stages = page.get_by_role("list").locator("li[data-state]")
    expect(stages.filter(has_text="Read the file")).to_have_attribute("data-state", "now")
    move(house, version_id, "encoding")
    expect(stages.filter(has_text="Encode every quality")).to_have_attribute("data-state", "now", timeout=5_000)
    expect(stages.filter(has_text="Read the file")).to_have_attribute("data-state", "done")


def test_a_film_is_watched_here_while_it_is_prepared(editor: Visitor, house: House, film: dict[str, Any]) -> None:
    growing = GrowingFilm(house, film["id"])
    page = editor.go(f"/admin/assets/{growing.asset_id}")
    player = page.locator("[data-player]")
    expect(player).to_be_hidden()
    growing.grow(Stage.START, 2)
    expect(player).to_be_visible()
    expect(player).to_have_attribute("data-state", "ready")
    expect(page.get_by_text("Playable", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Preparing")).to_be_visible()
    expect(page.locator("[data-growing]")).to_have_text("of 0:16, still being prepared")
    growing.fail()
    expect(page.get_by_text("Preparing was stopped")).to_be_visible()
    expect(player).to_be_visible()


def test_links_are_added_and_copied(editor: Visitor, house: House) -> None:
    asset_id, _, playback_id = put_film(house, "Linked", "cancelled")
    editor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = editor.go(f"/admin/assets/{asset_id}")
    page.get_by_role("button", name="Private link").click()
    expect(page.locator("[data-links] > li")).to_have_count(2)
    page.get_by_role("button", name="Copy the link").first.click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f"{house.url}/watch/{playback_id}"


def test_deleting_asks_first_and_then_the_film_is_gone(editor: Visitor, house: House) -> None:
    asset_id, _, _ = put_film(house, "Short-lived", "cancelled")
    page = editor.go(f"/admin/assets/{asset_id}")
    page.get_by_role("button", name="Delete this film").click()
    dialog = page.get_by_role("dialog", name="Delete this film?")
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Delete this film").click()
    dialog.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/admin")
    expect(page.get_by_role("list", name="Films")).not_to_contain_text("Short-lived")


def test_publication_is_changed_in_place(editor: Visitor, house: House) -> None:
    asset_id, _, playback_id = put_film(house, "Shy", "cancelled")
    page = editor.go(f"/admin/assets/{asset_id}")
    page.get_by_role("combobox", name="Publication").select_option("draft")
    expect(page.get_by_text("Publication saved")).to_be_visible()
    page.reload()
    expect(page.get_by_role("combobox", name="Publication")).to_have_value("draft")


def test_a_film_that_does_not_exist_is_a_page_that_says_so(editor: Visitor) -> None:
    editor.refusals_allowed = True
    page = editor.go("/admin/assets/ast_00000000000000000000")
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def test_a_try_that_failed_is_told_while_the_next_one_is_waited_for(editor: Visitor, house: House) -> None:
    error = {
        "code": "internal",
        "title": "The disk was full",
        "detail": "There was no room for a segment.",
        "retryable": True,
        "attempt": 2,
        "next_retry_at": "2099-01-01T00:00:00+00:00",
    }
    asset_id, _, _ = put_film(house, "Second try", "queued", error=error)
    page = editor.go(f"/admin/assets/{asset_id}")
    expect(page.get_by_text("Waiting to try again").first).to_be_visible()
    expect(page.get_by_text("Attempt 2 failed. Another one follows by itself.")).to_be_visible()
    expect(page.get_by_text("There was no room for a segment.").last).to_be_visible()
