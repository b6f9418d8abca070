"""Setting up a second factor in a browser, and signing in with it."""

import time

from playwright.sync_api import Browser, expect

from streamer import db
from streamer.accounts import totp, users
from tests.house import House, visit

PASSWORD = "another long password"


def test_a_second_factor_is_set_up_asked_for_and_turned_off(house: House, browser: Browser) -> None:
    email = "fay@example.org"
    with db.session(house.services) as s:
        quick = house.services.config.accounts.model_copy(update={"argon2_memory_kib": 64, "argon2_time": 1})
        users.create(s, quick, email=email, name="Fay", role="viewer", password=PASSWORD)
    with visit(house, browser) as fay:
        fay.refusals_allowed = True
        fay.sign_in(email, PASSWORD).wait_for_url("**/admin")
        page = fay.go("/admin/account")
        page.get_by_role("link", name="Second factor").click()
        page.get_by_label("Your password").fill(PASSWORD)
        page.get_by_role("button", name="Go on").click()
        secret = page.locator("[data-secret]").inner_text().replace(" ", "")
        expect(page.get_by_role("img", name="QR code")).to_be_visible()
        page.get_by_label("Code that the app shows").fill("000000")
        page.get_by_role("button", name="Turn it on").click()
        expect(page.get_by_role("alert")).to_contain_text("too old")
        assert page.locator("[data-secret]").inner_text().replace(" ", "") == secret, (
            "the same key, so the app is right"
        )
        page.get_by_label("Code that the app shows").fill(totp.code(secret, int(time.time()) // totp.STEP_S))
        page.get_by_role("button", name="Turn it on").click()
        codes = page.get_by_role("list", name="Recovery codes").get_by_role("listitem").all_inner_texts()
        assert len(codes) == 10
        fay.context.clear_cookies()
        fay.sign_in(email, PASSWORD)
        expect(page.get_by_label("Code")).to_be_focused()
        assert "/admin/sign-in" in page.url
        page.get_by_label("Code").fill("nonsense")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("Code").fill(codes[0])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/admin")
        fay.go("/admin/account/second-factor")
        expect(page.get_by_text("9 left")).to_be_visible()
        page.get_by_text("Turn it off", exact=True).click()
        page.get_by_label("Code of your app, or a recovery code").fill(codes[1])
        page.get_by_role("button", name="Turn it off now").click()
        expect(page.get_by_role("heading", name="Set it up")).to_be_visible()
        fay.check()
