"""Plans in a browser: made, given to a person, changed, and not deleted while somebody has one; on a desk and on a telephone."""

from playwright.sync_api import Browser, Locator, Page, expect

from tests.house import House, Visitor, visit

BILL, CLEO, PASSWORD = "bill@example.org", "cleo@example.org", "another long password"
LONG = "Studio, for those who can't wait" + "andwait" * 20


def test_whoever_bills_makes_a_plan_gives_it_and_deletes_it_when_nobody_has_it(house: House, browser: Browser) -> None:
    with house.api() as api:
        for name, email, role in (("Bill", BILL, "billing"), ("Cleo", CLEO, "member")):
            person = {"email": email, "name": name, "role": role, "password": PASSWORD}
            assert api.post("/users", json=person).status_code == 201
    with visit(house, browser, viewport={"width": 390, "height": 844}) as bill:
        bill.refusals_allowed = True
        bill.sign_in(BILL, PASSWORD).wait_for_url("**/admin")
        page = bill.go("/admin/people")
        page.get_by_role("link", name="Plans").click()
        make(page, LONG, "First")
        expect(page.get_by_role("status").filter(has_text="The plan is made")).to_be_visible()
        make(page, "Free", "In turn", default=True)
        expect(listed(page).first).to_have_text(LONG)
        expect(listed(page).filter(has_text="Free")).to_be_visible()
        assert not too_wide(page)
        give(bill, LONG)
        assert not too_wide(page)
        expect(page.get_by_role("region", name="Account")).to_contain_text(LONG)
        with visit(house, browser) as cleo:
            cleo.sign_in(CLEO, PASSWORD).wait_for_url("**/admin")
            expect(cleo.go("/admin/account").get_by_role("region", name="You", exact=True)).to_contain_text(LONG)
        delete(bill)
        expect(page.get_by_role("alert")).to_contain_text("People have this plan")
        page.get_by_label("Name").fill("Studio")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", name="Studio")).to_be_visible()
        assert not too_wide(page)
        give(bill, "The default (Free)")
        expect(page.get_by_role("region", name="Account")).to_contain_text("Free, the default")
        delete(bill, "Studio")
        page.wait_for_url("**/admin/plans")
        expect(listed(page).filter(has_text="Studio")).to_have_count(0)
        page.get_by_role("link", name="Free").click()
        expect(page.get_by_text("until you make another one the default")).to_be_visible()
        expect(page.get_by_text("Delete this plan")).to_have_count(0)
        bill.check()


def listed(page: Page) -> Locator:
    return page.get_by_role("list", name="Plans").get_by_role("link")


def make(page: Page, name: str, turn: str, *, default: bool = False) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("When films are encoded").select_option(label=turn)
    page.get_by_label("For everybody who has no plan").set_checked(default)
    page.get_by_role("button", name="Make plan").click()


def give(bill: Visitor, plan: str) -> None:
    page = bill.go("/admin/people")
    page.get_by_role("link", name="Cleo").click()
    page.get_by_label("What they may have").select_option(label=plan)
    page.get_by_role("button", name="Give").click()
    expect(page.get_by_role("status").filter(has_text="The plan is given")).to_be_visible()


def delete(bill: Visitor, name: str = LONG) -> None:
    page = bill.go("/admin/plans")
    page.get_by_role("link", name=name).click()
    page.get_by_text("Delete this plan").click()
    page.get_by_role("button", name="Delete it now").click()


def too_wide(page: Page) -> bool:
    wider: bool = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    return wider
