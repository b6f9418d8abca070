import re
from typing import Any

from playwright.sync_api import Browser, expect

from streamer import db
from streamer.accounts import users
from tests.admin.rows import move, put_film
from tests.house import House, Visitor, visit

CANARY = '<img src=x onerror="window.__canary=1"><script>window.__canary=1</script>{{7*7}}'


def test_a_film_in_the_making_moves_on_in_place_and_asking_stops_with_it(editor: Visitor, house: House) -> None:
    asset_id, version_id, _ = put_film(house, "In the making", "queued")
    page = editor.go("/admin")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/v1/assets?" in request.url else None)
    page.evaluate("window.__same_page = true")
    card = page.locator(f'[data-asset="{asset_id}"]')
    expect(card).to_contain_text("Waiting")
    move(house, version_id, "encoding")
    expect(card).to_contain_text("Encoding", timeout=5_000)
    expect(card.get_by_role("progressbar")).to_be_visible()
    move(house, version_id, "cancelled")
    expect(card).to_contain_text("Cancelled", timeout=5_000)
    assert len(asked) >= 2 and page.evaluate("window.__same_page")
    settled = len(asked)
    page.wait_for_timeout(2_000)  # longer than the pause between two questions
    assert len(asked) <= settled + 1


def test_a_title_made_of_markup_is_shown_as_text_everywhere(editor: Visitor, house: House) -> None:
    asset_id, _, playback_id = put_film(
        house,
        CANARY,
        "errored",
        source_name=CANARY,
        error={"code": "x", "title": CANARY, "detail": CANARY, "retryable": False, "attempt": 1, "next_retry_at": None},
    )
    page = editor.go("/admin")
    expect(page.locator(f'[data-asset="{asset_id}"]')).to_contain_text(CANARY)
    editor.go(f"/admin/assets/{asset_id}")
    expect(page.get_by_label("Title")).to_have_value(CANARY)
    expect(page.get_by_role("alert").first).to_contain_text(CANARY)
    assert page.locator("dd", has_text=CANARY).count() == 1
    editor.go(f"/watch/{playback_id}")
    expect(page.get_by_role("heading", name=CANARY)).to_be_visible()
    assert page.evaluate("window.__canary") is None


def test_searching_narrows_the_library_and_says_when_nothing_fits(editor: Visitor, house: House) -> None:
    put_film(house, "The bittern on the weir", "cancelled")
    page = editor.go("/admin")
    page.get_by_label("Search by title").fill("bittern")
    films = page.get_by_role("list", name="Films").get_by_role("listitem")
    expect(films).to_have_count(1)
    page.get_by_label("Search by title").fill("no such film anywhere")
    expect(page.get_by_text("No film has that in its title")).to_be_visible()
    page.get_by_role("button", name="Show all films").click()
    expect(films.filter(has_text="The bittern on the weir")).to_be_visible()


def test_a_ready_film_shows_its_poster_its_length_and_leads_to_its_page(editor: Visitor, film: dict[str, Any]) -> None:
    page = editor.go("/admin")
    card = page.locator(f'[data-asset="{film["id"]}"]')
    expect(card.locator("img")).to_have_js_property("complete", True)
    assert card.locator("img").evaluate("(image) => image.naturalWidth") > 100
    expect(card.locator(".poster-badge")).to_have_text(re.compile(r"^\d+:\d\d$"))
    card.get_by_role("link").click()
    page.wait_for_url(f"**/admin/assets/{film['id']}")


def test_an_empty_library_invites_to_upload(house: House, browser: Browser) -> None:
    with db.session(house.services) as s:
        users.create(
            s,
            house.services.config.accounts,
            email="new@example.org",
            name="New",
            role="viewer",
            password="correct horse battery",
        )
    with visit(house, browser) as visitor:
        page = visitor.sign_in("new@example.org")
        expect(page.get_by_text("Your library is empty")).to_be_visible()
        expect(page.get_by_role("link", name="Upload")).to_have_count(0)
        visitor.check()


def test_a_library_that_cannot_be_reached_says_so_and_comes_back(editor: Visitor) -> None:
    page = editor.page
    page.route("**/api/v1/assets?**", lambda route: route.abort("connectionrefused"))
    editor.go("/admin")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute("**/api/v1/assets?**")
    expect(page.get_by_role("alert")).to_have_count(0, timeout=6_000)
    editor.faults.clear()  # the refused connections are what this test made
