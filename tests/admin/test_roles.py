"""Roles and people's pages, in a browser."""

from playwright.sync_api import Browser, expect

from tests.house import House, Visitor, visit

PASSWORD = "another long password"


def test_a_role_is_made_given_changed_and_deleted(editor: Visitor, house: House, browser: Browser) -> None:
    page = editor.go("/admin/people")
    page.get_by_role("link", name="Roles").click()
    page.get_by_label("Name").fill("night-shift")
    page.get_by_label("See everyone's jobs, and the workers").check()
    page.get_by_role("button", name="Make role").click()
    expect(page.get_by_role("status").filter(has_text="The role is made")).to_be_visible()
    make_person(editor, "Nils", "nils@example.org", "night-shift")
    with visit(house, browser) as nils:
        nils.refusals_allowed = True
        nils.sign_in("nils@example.org", PASSWORD).wait_for_url("**/admin")
        expect(nils.page.get_by_role("link", name="People")).to_have_count(0)
        page.goto(f"{editor.url}/admin/roles/night-shift")
        page.get_by_label("See people").check()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_label("See people")).to_be_checked()
        expect(nils.go("/admin/people").get_by_role("heading", name="People")).to_be_visible()
        expect(nils.go("/admin/roles").get_by_role("heading", name="You are not allowed to do this")).to_be_visible()
        nils.check()
    editor.refusals_allowed = True
    delete_role(editor)
    expect(page.get_by_role("alert")).to_contain_text("1 person has this role")
    editor.go("/admin/people")
    page.get_by_role("link", name="Nils").click()
    page.get_by_label("What they may do").select_option("viewer")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="The new role holds")).to_be_visible()
    page.goto(f"{editor.url}/admin/roles/night-shift")
    delete_role(editor)
    page.wait_for_url("**/admin/roles")
    expect(page.get_by_role("link", name="night-shift")).to_have_count(0)


def delete_role(editor: Visitor) -> None:
    editor.page.get_by_text("Delete this role").click()
    editor.page.get_by_role("button", name="Delete it now").click()


def make_person(editor: Visitor, name: str, email: str, role: str) -> None:
    page = editor.go("/admin/people")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Email").fill(email)
    page.get_by_label("Role").select_option(role)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("row").filter(has_text=email)).to_be_visible()
