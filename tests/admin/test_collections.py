"""Collections in a browser: made, filled, put in order and opened to somebody else, with the keyboard and on a telephone."""

from playwright.sync_api import Browser, Locator, Page, expect

from tests.admin.rows import put_film
from tests.house import House, Visitor, visit

LONG = "A summer by the sea, with a name that goes on and on" + "overandover" * 12
OTHER, PASSWORD = "cole@example.org", "another long password"


def test_a_collection_is_made_filled_ordered_and_opened_to_somebody_else(
    editor: Visitor, house: House, browser: Browser
) -> None:
    heron, weir = (put_film(house, title, "cancelled")[0] for title in ("The heron", "The weir"))
    with house.api() as api:
        person = {"email": OTHER, "name": "Cole", "role": "member", "password": PASSWORD}
        assert api.post("/users", json=person).status_code == 201
    with visit(house, browser, viewport={"width": 390, "height": 844}) as cole:
        cole.sign_in(OTHER, PASSWORD).wait_for_url("**/admin")
        expect(cole.go("/admin/collections").get_by_text("No collections yet")).to_be_visible()
        is_made_and_opened(editor, cole)
    with house.api() as api:
        assert [api.get(f"/assets/{film}").status_code for film in (heron, weir)] == [200, 200]


def is_made_and_opened(editor: Visitor, cole: Visitor) -> None:
    page = editor.go("/admin")
    page.get_by_role("link", name="Collections").click()
    page.get_by_label("Name").fill(LONG)
    page.get_by_label("Description").fill("First line\nSecond line")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=LONG)).to_be_visible()
    here = page.url.partition("?")[0]
    expect(page.get_by_text("No films in it yet")).to_be_visible()
    for title in ("The heron", "The weir"):
        page.get_by_label("Film of yours").select_option(label=title)
        page.get_by_role("button", name="Put it in").click()
        expect(films(page).get_by_role("link", name=title)).to_be_visible()
    page.get_by_role("button", name="Move The weir up").press("Enter")
    expect(films(page).get_by_role("link")).to_have_text(["The weir", "The heron"])
    expect(page.get_by_role("button", name="Move The weir down")).to_be_focused()
    page.get_by_label("Email").fill("nobody@example.org")
    page.get_by_role("button", name="Let in").click()
    expect(page.get_by_text("is nobody's here")).to_be_visible()
    page.get_by_label("Email").fill(OTHER)
    page.get_by_label("What they may do").select_option("edit")
    page.get_by_role("button", name="Let in").click()
    expect(page.get_by_role("list", name="Grants")).to_contain_text("Cole")
    editor.refusals_allowed = True
    sees_and_orders(cole)
    page.goto(here)
    page.get_by_role("button", name="Take back from Cole").click()
    expect(page.get_by_text("Nobody besides you")).to_be_visible()
    page.get_by_role("button", name="Take out The heron").click()
    expect(films(page).get_by_role("link")).to_have_text(["The weir"])
    page.get_by_text("Delete this collection").click()
    page.get_by_role("button", name="Delete it now").click()
    page.wait_for_url("**/admin/collections")


def films(page: Page) -> Locator:
    return page.get_by_role("list", name="Films")


def sees_and_orders(cole: Visitor) -> None:
    """On a telephone, where nothing is wider than the screen."""
    page = cole.go("/admin/collections")
    assert not too_wide(page)
    expect(page.get_by_role("list", name="Collections")).to_contain_text("2 films · by Ada Lovelace")
    page.get_by_role("link", name=LONG).click()
    expect(page.get_by_text("By Ada Lovelace")).to_be_visible()
    expect(page.get_by_text("Who is let in")).to_have_count(0)
    page.get_by_role("button", name="Move The weir down").click()
    expect(films(page).get_by_role("link")).to_have_text(["The heron", "The weir"])
    assert not too_wide(page)
    cole.go("/admin")
    cole.check()


def too_wide(page: Page) -> bool:
    wider: bool = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    return wider
