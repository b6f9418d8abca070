from playwright.sync_api import Browser, expect

from tests.house import House, Visitor, visit

PASSWORD = "another long password"


def test_a_person_is_added_signs_in_and_is_shut_out(editor: Visitor, house: House, browser: Browser) -> None:
    page = editor.go("/admin/people")
    page.get_by_label("Name").fill("Grace Hopper")
    page.get_by_label("Email").fill("grace@example.org")
    page.get_by_label("Role").select_option("viewer")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("row").filter(has_text="Grace Hopper")
    expect(row).to_contain_text("Active")
    with visit(house, browser) as grace:
        grace.refusals_allowed = True
        grace.sign_in("grace@example.org", PASSWORD).wait_for_url("**/admin")
        expect(grace.page.get_by_role("link", name="People")).to_have_count(0)
        expect(grace.go("/admin/people").get_by_role("heading", name="You are not allowed to do this")).to_be_visible()
        row.get_by_role("button", name="Disable Grace Hopper").click()
        expect(row).to_contain_text("Disabled")
        assert "/admin/sign-in" in grace.go("/admin").url
        grace.check()


def test_an_address_that_is_taken_is_refused_with_the_form_still_filled(editor: Visitor) -> None:
    editor.refusals_allowed = True
    page = editor.go("/admin/people")
    page.get_by_label("Name").fill("Ada again")
    page.get_by_label("Email").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("There is an account for ada@example.org already.")
    expect(page.get_by_label("Name")).to_have_value("Ada again")


def test_a_key_is_shown_once_works_and_is_revoked(editor: Visitor) -> None:
    page = editor.go("/admin/api-keys")
    page.get_by_label("Name").fill("Nightly import")
    page.get_by_role("button", name="Make key").click()
    secret = page.locator("[data-secret]").inner_text()
    request = editor.context.request
    bearer = {"Authorization": f"Bearer {secret}"}
    assert request.get(f"{editor.url}/api/v1/me", headers=bearer).status == 200
    editor.go("/admin/api-keys")
    assert secret not in page.content()
    page.get_by_role("button", name="Revoke Nightly import").click()
    expect(page.get_by_role("row").filter(has_text="Nightly import")).to_contain_text("Revoked")
    assert request.get(f"{editor.url}/api/v1/me", headers=bearer).status == 401
