from typing import Any

import httpx2
from playwright.sync_api import Browser, expect

from tests.admin.rows import put_film
from tests.house import House, Visitor, until, visit
from tests.web import NO_TLS


def test_the_front_page_shows_public_films_that_play_and_no_others(
    visitor: Visitor, house: House, film: dict[str, Any]
) -> None:
    put_film(house, "Not ready yet", "encoding")
    page = visitor.go("/")
    films = page.get_by_role("list", name="Films")
    expect(films).to_contain_text("The short film")
    expect(films).not_to_contain_text("Not ready yet")
    page.get_by_role("link", name="The short film").click()
    page.wait_for_url("**/watch/plb_*")


def test_a_private_film_sends_visitors_to_sign_in_and_back(
    house: House, browser: Browser, film: dict[str, Any]
) -> None:
    with house.api() as api:
        link = api.post(f"/assets/{film['id']}/playback-ids", json={"policy": "private"}).json()["id"]
    with visit(house, browser) as visitor:
        page = visitor.go(f"/watch/{link}")
        assert "The short film" not in page.content()
        page.get_by_label("Email").fill("ada@example.org")
        page.get_by_label("Password").fill("correct horse battery")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"**/watch/{link}")
        expect(page.locator("[data-player]")).to_have_attribute("data-state", "ready")
        until(page, "document.querySelector('hls-video').duration > 15")
        visitor.check()


def test_an_unknown_link_is_a_page_that_says_so(visitor: Visitor) -> None:
    visitor.refusals_allowed = True
    for path in ("/watch/plb_00000000000000000000", "/watch/x", "/nowhere"):
        page = visitor.go(path)
        expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
        expect(page.get_by_role("link", name="Go to the front page")).to_be_visible()


def test_a_draft_is_shown_to_its_owner_alone(house: House, visitor: Visitor) -> None:
    visitor.refusals_allowed = True
    asset_id, _, playback_id = put_film(house, "Unfinished", "cancelled")
    with house.api() as api:
        api.patch(f"/assets/{asset_id}", json={"publication": "draft"})
    expect(visitor.go(f"/watch/{playback_id}").get_by_role("heading", name="There is nothing here")).to_be_visible()
    visitor.sign_in().wait_for_url("**/admin")
    expect(visitor.go(f"/watch/{playback_id}").get_by_role("heading", name="Unfinished")).to_be_visible()


def test_the_state_of_a_film_is_asked_without_an_error_and_says_no_more_than_needed(house: House) -> None:
    _, _, playback_id = put_film(house, "Asked about", "probing")
    answer = httpx2.get(f"{house.url}/watch/{playback_id}/state", verify=NO_TLS)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"playable", "processing", "progress"}
    assert answer.json()["processing"] == "probing"
