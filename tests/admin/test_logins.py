import pytest
from playwright.sync_api import expect

from tests.house import NAME, House, Visitor


def test_signing_in_leads_to_the_library_and_signing_out_away_from_it(editor: Visitor) -> None:
    page = editor.page
    expect(page.get_by_role("heading", level=1, name="Library")).to_be_visible()
    page.get_by_role("button", name="Account").click()
    expect(page.get_by_text(NAME)).to_be_visible()
    page.get_by_role("menuitem", name="Sign out").click()
    page.wait_for_url("**/admin/sign-in")
    editor.go("/admin")
    assert page.url.endswith("/admin/sign-in?next=/admin")


def test_the_session_is_dead_after_signing_out_even_for_who_kept_its_cookie(editor: Visitor) -> None:
    kept = editor.context.cookies()
    editor.page.get_by_role("button", name="Account").click()
    editor.page.get_by_role("menuitem", name="Sign out").click()
    editor.page.wait_for_url("**/admin/sign-in")
    editor.context.add_cookies(kept)
    assert "/admin/sign-in" in editor.go("/admin").url


def test_a_wrong_password_is_refused_in_place_and_keeps_the_address(visitor: Visitor) -> None:
    visitor.refusals_allowed = True
    page = visitor.sign_in(password="wrong")
    expect(page.get_by_role("alert")).to_contain_text("password is wrong")
    expect(page.get_by_label("Email")).to_have_value("ada@example.org")
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_label("Password")).to_be_focused()


def test_signing_in_brings_people_to_the_page_they_wanted(visitor: Visitor) -> None:
    page = visitor.go("/admin/upload")
    page.get_by_label("Email").fill("ada@example.org")
    page.get_by_label("Password").fill("correct horse battery")
    page.keyboard.press("Enter")
    page.wait_for_url(visitor.url + "/admin/upload")


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_never_leads_to_another_host(visitor: Visitor, elsewhere: str) -> None:
    page = visitor.go("/admin/sign-in?next=" + elsewhere)
    page.get_by_label("Email").fill("ada@example.org")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(visitor.url + "/admin")


def test_a_form_without_its_csrf_token_changes_nothing(editor: Visitor, house: House) -> None:
    editor.refusals_allowed = True
    page = editor.go("/admin/api-keys")
    page.evaluate("document.querySelectorAll('input[name=csrf_token]').forEach((field) => { field.value = 'wrong'; })")
    page.get_by_label("Name").fill("Stolen")
    page.get_by_role("button", name="Make key").click()
    expect(page.get_by_role("heading", name="You are not allowed to do this")).to_be_visible()
    editor.go("/admin/api-keys")
    expect(page.get_by_text("Stolen")).to_have_count(0)
