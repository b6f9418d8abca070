"""Webhook endpoints on their pages, by a person with nothing but the pages."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streamer import db
from streamer.accounts import users
from streamer.webhooks import deliveries, endpoints
from streamer.webhooks.deliveries import Outcome
from streamer.webhooks.tables import Delivery, Endpoint
from tests.admin.rows import put_film
from tests.admin.test_access import faults_of
from tests.house import House, Visitor, visit
from tests.streamer.stack import wait_for

URL = "https://hooks.invalid/from-streamer"
CANARY = '<img src=x onerror="window.__canary=1">'


@pytest.fixture(autouse=True)
def no_endpoint_is_left(house: House) -> Iterator[None]:
    yield
    with db.session(house.services) as s:
        for row in s.query(Endpoint):
            s.delete(row)


def add(page: Page, description: str) -> str:
    """A new endpoint by the form; the secret it shows."""
    page.get_by_label("URL").fill(URL)
    page.get_by_label("Description").fill(description)
    page.get_by_label("Only these").check()
    page.get_by_label("asset.updated").check()
    page.get_by_role("button", name="Add endpoint").click()
    return page.locator("[data-secret]").inner_text()


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_an_endpoint_is_added_tried_changed_rotated_disabled_and_deleted(editor: Visitor, house: House) -> None:
    editor.refusals_allowed = True
    page = editor.go("/admin/webhooks")
    expect(page.get_by_text("No endpoints yet")).to_be_visible()
    page.get_by_label("URL").fill("https://somebody@example.org/")
    button(page, "Add endpoint")
    expect(page.get_by_label("URL")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert")).to_contain_text("must not have a user")
    secret = add(page, f"The newsroom {CANARY}")
    assert secret.startswith("whsec_")

    page.goto(f"{house.url}/admin/webhooks")
    page.get_by_role("link", name="The newsroom").click()
    expect(page.locator("[data-secret]")).to_have_count(0)
    button(page, "Send a test event")
    expect(page.get_by_text(re.compile("The test event (did not arrive|is on its way)"))).to_be_visible()
    wait_for(lambda: page.reload() and page.get_by_text("1 attempt").count() == 1, 15)
    page.get_by_text("1 attempt").click()
    expect(page.locator(".attempts li")).to_contain_text("no answer")
    expect(page.locator(".attempts li")).to_contain_text(re.compile(r"\d+ ms"))

    page.get_by_label("All of them").check()
    button(page, "Save")
    expect(page.get_by_role("status").first).to_contain_text("Saved.")
    button(page, "Make a new secret")
    assert page.locator("[data-secret]").inner_text() not in ("", secret)
    button(page, "Disable this endpoint")
    expect(page.get_by_text("somebody switched it off")).to_be_visible()
    expect(page.get_by_role("button", name="Resend")).to_have_count(0)
    button(page, "Enable it")
    expect(page.get_by_text("Enabled", exact=True)).to_be_visible()
    with db.reading(house.services) as s:
        (row,) = s.query(Endpoint).all()
    assert (row.types, row.old_secret_until is not None) == (["*"], True)
    page.get_by_text("Delete this endpoint").click()
    button(page, "Delete it now")
    expect(page.get_by_text("No endpoints yet")).to_be_visible()
    assert page.evaluate("window.__canary") is None


def test_deliveries_are_filtered_sent_again_and_replayed(editor: Visitor, house: House) -> None:
    asset_id, _, _ = put_film(house, "Told of", "cancelled")
    page = editor.go("/admin/webhooks")
    add(page, "Deliveries")
    with house.api() as api:
        api.patch(f"/assets/{asset_id}", json={"title": "Told of again"})

    def failed() -> list[Delivery]:
        with db.reading(house.services) as s:
            return s.query(Delivery).where(Delivery.tried_at.is_not(None)).all()

    (row,) = wait_for(failed)
    with db.session(house.services) as s:
        for status in (503, 200):
            deliveries.settle(
                s,
                s.get_one(Delivery, row.id),
                Outcome(status, None if status == 200 else "It answered 503."),
                house.services.config.webhooks,
                0.25,
            )
    here = f"{house.url}/admin/webhooks/{row.endpoint_id}"
    page.goto(here)
    expect(page.get_by_text("3 attempts")).to_be_visible()
    page.get_by_role("link", name="Given up").click()
    expect(page.get_by_text("None of these.")).to_be_visible()
    page.get_by_role("link", name="Delivered").click()
    page.get_by_role("button", name="Resend").click()
    expect(page.get_by_text("It is sent again now.")).to_be_visible()
    page.get_by_label("Replay since (UTC)").fill("2020-01-01T00:00:00")
    button(page, "Replay")
    expect(page.get_by_text("What was replayed is on its way")).to_be_visible()


@pytest.mark.parametrize("size", [(390, 844), (1440, 900)], ids=["phone", "desk"])
def test_the_page_of_an_endpoint_is_named_labelled_large_enough_and_fits(
    editor: Visitor, house: House, size: tuple[int, int]
) -> None:
    rules = house.services.config.outbound
    with db.session(house.services) as s:
        made, _ = endpoints.create(
            s, house.services.secrets, rules, url=URL + "/long" * 300, types=["asset.ready"], description=""
        )
        endpoints.ping(s, made.id)
    editor.page.set_viewport_size({"width": size[0], "height": size[1]})
    wait_for(lambda: "attempt" in editor.go(f"/admin/webhooks/{made.id}").content(), 15)
    editor.page.get_by_text("1 attempt").click()
    assert faults_of(editor.page) == []
    assert faults_of(editor.go("/admin/webhooks")) == []


def test_only_those_who_may_see_webhooks_see_them(house: House, browser: Browser) -> None:
    config, email = house.services.config.accounts, "webhook-viewer@example.org"
    with db.session(house.services) as s:
        users.create(s, config, email=email, name="Vi", role="editor", password="a good one")
    with visit(house, browser) as visitor:
        visitor.refusals_allowed = True
        visitor.sign_in(email, "a good one").wait_for_url("**/admin")
        expect(visitor.page.get_by_role("link", name="Webhooks")).to_have_count(0)
        visitor.go("/admin/webhooks")
        expect(visitor.page.get_by_role("heading", name="You are not allowed to do this")).to_be_visible()
