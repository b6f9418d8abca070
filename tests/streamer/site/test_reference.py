"""The API's description as pages: all of it there, found by words and by anchor, without a script."""

import httpx2
from playwright.sync_api import Browser, expect

from streamer.app import api_routes
from streamer.openapi import PREFIX, operation_id
from tests.house import House, Visitor, visit
from tests.web import NO_TLS


def test_each_operation_has_its_anchor_on_the_page_of_its_resource(house: House) -> None:
    with httpx2.Client(base_url=house.url, verify=NO_TLS) as client:
        pages = {tag: client.get(f"/docs/{tag}").text for tag in {route.path.split("/")[1] for route in api_routes()}}
        contents = client.get("/docs").text
    for route in api_routes():
        tag = route.path.split("/")[1]
        for one in route.operations:
            anchor = operation_id(route, one)
            assert f'id="{anchor}"' in pages[tag] and f'href="/docs/{tag}#{anchor}"' in contents


def test_words_find_an_operation_and_its_page_says_all_of_it(visitor: Visitor) -> None:
    page = visitor.go("/docs")
    page.get_by_label("Search operations").fill("PATCH Change a film")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("1 operation has “PATCH Change a film”")
    page.get_by_role("link", name="Change a film").click()
    page.wait_for_url("**/docs/assets#catalog_change_asset")
    change = page.locator("#catalog_change_asset")
    expect(change.get_by_role("heading", name="Change a film")).to_be_in_viewport()
    expect(change).to_contain_text(f"{PREFIX}/assets/{{id}}")
    expect(change).to_contain_text("any:assets:write")
    expect(change.get_by_label("Body of Change a film")).to_contain_text("draft | in_review | published")
    expect(change.get_by_label("Example of Change a film")).to_contain_text("-X PATCH")


def test_typing_leaves_what_has_the_words_and_beside_each_stands_who_may(visitor: Visitor) -> None:
    page = visitor.go("/docs")
    line = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="Change a plan", exact=True))
    expect(line).to_contain_text("Who may: site:plans:write")
    page.get_by_label("Search operations").press_sequentially("patch plan")
    expect(page.get_by_role("status").first).to_contain_text("1 operation with these words")
    expect(line).to_be_visible()
    expect(page.get_by_role("link", name="List plans")).to_be_hidden()
    expect(page.get_by_role("heading", name="webhook-endpoints")).to_be_hidden()
    page.get_by_label("Search operations").fill("")
    expect(page.get_by_role("heading", name="webhook-endpoints")).to_be_visible()


def test_on_a_telephone_the_index_is_folded_and_leads_to_each_operation(house: House, browser: Browser) -> None:
    with visit(house, browser, viewport={"width": 390, "height": 844}) as visitor:
        page = visitor.go("/docs/plans")
        index, button = page.get_by_role("navigation", name="API"), page.get_by_role("button", name="Contents")
        expect(index.get_by_role("link")).to_have_count(0)
        button.press("Enter")
        expect(button).to_have_attribute("aria-expanded", "true")
        index.get_by_role("link", name="Change a plan").click()
        expect(page.locator("#billing_change_plan").get_by_role("heading", name="Change a plan")).to_be_in_viewport()
        visitor.check()


def test_what_is_not_there_is_said_so(visitor: Visitor) -> None:
    visitor.refusals_allowed = True
    expect(visitor.go("/docs?q=%3Cb%3Ex").get_by_text("Nothing has these words")).to_be_visible()
    expect(visitor.go("/docs/nothing").get_by_role("heading", name="There is nothing here")).to_be_visible()
