"""Coming in by letter, in a browser, with a worker that writes the letters: signing up, being invited, forgetting a password, another address."""

import re
import time
from email import message_from_bytes, policy
from itertools import count

from playwright.sync_api import Browser, expect

from tests.house import House, Visitor, visit

PASSWORD = "another long password"
_numbers = count(1)


def fresh(name: str) -> str:
    """An address nobody has had: the house lives longer than a test."""
    return f"{name}{next(_numbers)}@example.org"


def link_to(house: House, address: str, after: float, timeout_s: float = 30) -> str:
    """The path of the link in the newest letter to the address, once it is written."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for path in sorted((house.data / "mail").glob("*.eml"), reverse=True):
            letter = message_from_bytes(path.read_bytes(), policy=policy.default)
            if letter["To"] == address and path.stat().st_mtime > after:
                found = re.search(r"https?://[^/\s]+(/admin/\S+\?token=\S+)", letter.get_content())  # type: ignore[attr-defined]
                assert found
                return found[1]
        time.sleep(0.1)
    raise AssertionError(f"no letter to {address} after {timeout_s} s")


def sign_up(visitor: Visitor, house: House, address: str) -> None:
    began = time.time()
    page = visitor.go("/admin/sign-in")
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Name").fill("Nora Noether")
    page.get_by_label("Email").fill(address)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Look into your mailbox")).to_be_visible()
    visitor.go(link_to(house, address, began))
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="Your account is made")).to_be_visible()


def test_somebody_signs_up_forgets_the_password_and_changes_the_address(visitor: Visitor, house: House) -> None:
    address, other = fresh("nora"), fresh("noether")
    sign_up(visitor, house, address)
    visitor.sign_in(address, PASSWORD).wait_for_url("**/admin")
    page, began = visitor.go("/admin/account"), time.time()
    expect(page.get_by_text("Confirmed", exact=True)).to_be_visible()
    page.get_by_label("New email").fill(other)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Change email address").click()
    expect(page.get_by_role("status").filter(has_text="on its way there")).to_be_visible()
    visitor.go(link_to(house, other, began))
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text(f"From now on sign in as {other}.")).to_be_visible()
    visitor.context.clear_cookies()
    page, began = visitor.go("/admin/sign-in"), time.time()
    page.get_by_role("link", name="Forgotten your password?").click()
    page.get_by_label("Email").fill(other)
    page.get_by_role("button", name="Send the letter").click()
    expect(page.get_by_role("heading", name="Look into your mailbox")).to_be_visible()
    visitor.go(link_to(house, other, began))
    page.get_by_label("New password").fill("a password that is remembered")
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("status").filter(has_text="Your new password is set")).to_be_visible()
    visitor.sign_in(other, "a password that is remembered").wait_for_url("**/admin")


def test_somebody_invited_comes_in_with_the_role_they_were_given(
    editor: Visitor, house: House, browser: Browser
) -> None:
    address, began = fresh("ivo"), time.time()
    page = editor.go("/admin/invitations")
    page.get_by_label("Email").fill(address)
    page.get_by_label("Role").select_option("analyst")
    page.get_by_role("button", name="Send invitation").click()
    row = page.get_by_role("listitem").filter(has_text=address)
    expect(row).to_contain_text("analyst")
    with visit(house, browser) as ivo:
        ivo.refusals_allowed = True
        link = link_to(house, address, began)
        ivo.go(link).get_by_label("Name").fill("Ivo")
        ivo.page.get_by_label("Password").fill(PASSWORD)
        ivo.page.get_by_role("button", name="Join").click()
        ivo.page.wait_for_url("**/admin")
        ivo.page.get_by_role("button", name="Account").click()
        expect(ivo.page.get_by_text(f"{address} · analyst")).to_be_visible()
        ivo.context.clear_cookies()
        expect(ivo.go(link).get_by_role("heading", name="This link cannot be used any more")).to_be_visible()
        ivo.check()
    editor.go("/admin/invitations")
    expect(row).to_have_count(0)


def test_what_is_wrong_stands_at_its_field_and_the_rest_is_kept(visitor: Visitor) -> None:
    visitor.refusals_allowed = True
    page = visitor.go("/admin/sign-up")
    page.locator("form").evaluate("(form) => { form.noValidate = true; }")
    page.get_by_label("Name").fill("Nora")
    page.get_by_label("Email").fill("nora")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_label("Email")).to_have_accessible_description("This is not an e-mail address.")
    expect(page.get_by_label("Name")).to_have_value("Nora")
    expect(page.get_by_label("Password")).to_have_value("")


def test_somebody_signs_out_on_another_device(editor: Visitor, house: House, browser: Browser) -> None:
    with visit(house, browser, user_agent="Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/133.0") as other:
        other.sign_in().wait_for_url("**/admin")
        page = editor.go("/admin/account")
        row = page.get_by_role("listitem").filter(has_text="Firefox on Windows").first
        expect(page.get_by_role("listitem").filter(has_text="This device")).to_have_count(1)
        row.get_by_role("button", name="Sign out Firefox on Windows").click()
        expect(page.get_by_role("status").filter(has_text="That device is signed out.")).to_be_visible()
        assert "/admin/sign-in" in other.go("/admin").url
        other.check()
