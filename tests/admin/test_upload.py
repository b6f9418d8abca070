import hashlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from streamer import db
from streamer.ingest.tables import Upload
from tests.house import House, Visitor
from tests.line import BreakingLine
from tests.streamer.ingest.filmserver import FilmServer, says

SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 3_000_000}


@pytest.fixture
def own_film(short_film: Path, tmp_path: Path) -> Path:
    """The short film in bytes that nobody has uploaded yet: with an empty box at its end."""
    own = tmp_path / "own film.mp4"
    own.write_bytes(short_film.read_bytes() + b"\0\0\0\x10free" + os.urandom(8))
    return own


def test_a_film_chosen_from_disk_is_sent_prepared_and_ready_without_leaving_the_page(
    editor: Visitor, own_film: Path
) -> None:
    page = editor.go("/admin/upload")
    page.get_by_label("Choose files").set_input_files(own_film)
    row = page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")
    expect(row).to_contain_text(own_film.name)
    expect(row.get_by_role("progressbar")).to_be_visible()
    expect(row).to_have_attribute("data-state", "preparing", timeout=20_000)
    expect(row).to_have_attribute("data-state", "ready", timeout=120_000)
    row.get_by_role("link", name="Open the film").click()
    expect(page.get_by_label("Title")).to_have_value(own_film.stem)
    expect(page.locator("[data-player]")).to_have_attribute("data-state", "ready")


def test_the_progress_bar_follows_the_bytes_and_says_speed_and_time_left(editor: Visitor, tmp_path: Path) -> None:
    big = tmp_path / "big.mkv"
    big.write_bytes(b"\x1a\x45\xdf\xa3" * 3_000_000)
    page = editor.go("/admin/upload")
    slow = editor.context.new_cdp_session(page)
    slow.send("Network.enable")
    slow.send("Network.emulateNetworkConditions", SLOW)
    page.get_by_label("Choose files").set_input_files(big)
    row = page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")
    expect(row.get_by_role("status")).to_contain_text("/s", timeout=10_000)
    expect(row.get_by_role("status")).to_contain_text("left")
    seen = float(row.get_by_role("progressbar").get_attribute("value") or 0)
    assert 0 < seen < 100
    row.get_by_role("button", name="Cancel big.mkv").click()
    expect(row).to_have_attribute("data-state", "cancelled")
    expect(row).to_contain_text("Nothing was kept")
    slow.detach()


def test_what_is_not_a_film_is_refused_in_place_and_the_next_file_goes_on(editor: Visitor, tmp_path: Path) -> None:
    notes, empty = tmp_path / "notes.txt", tmp_path / "empty.mp4"
    notes.write_text("no film")
    empty.touch()
    page = editor.go("/admin/upload")
    page.get_by_label("Choose files").set_input_files([empty, notes])
    rows = page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")
    expect(rows.filter(has_text="empty.mp4")).to_contain_text("This file is empty.")
    expect(rows.filter(has_text="notes.txt")).to_have_attribute("data-state", "failed", timeout=60_000)
    expect(rows.filter(has_text="notes.txt")).to_contain_text("No supported container")
    page.get_by_role("button", name="Remove empty.mp4 from this list").click()
    expect(rows).to_have_count(1)


def test_several_files_dropped_on_the_page_are_all_taken(editor: Visitor) -> None:
    page = editor.go("/admin/upload")
    page.evaluate("""() => {
        const data = new DataTransfer();
        for (const name of ['one.mp4', 'two.mp4', 'three.mp4']) data.items.add(new File([], name));
        const zone = document.querySelector('.drop');
        zone.dispatchEvent(new DragEvent('dragover', { dataTransfer: data, bubbles: true, cancelable: true }));
        zone.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
    }""")
    expect(page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")).to_have_count(3)


def test_an_upload_that_cannot_begin_says_so_and_goes_on_by_itself(editor: Visitor, own_film: Path) -> None:
    editor.refusals_allowed = True
    page = editor.go("/admin/upload")
    page.route("**/api/v1/tus**", lambda route: route.abort("connectionreset"))
    page.get_by_label("Choose files").set_input_files(own_film)
    row = page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")
    expect(row).to_contain_text("The connection was lost")
    page.unroute("**/api/v1/tus**")
    expect(row).to_have_attribute("data-state", "preparing", timeout=20_000)
    editor.faults.clear()  # the reset connection is what this test made


def test_an_upload_whose_connection_breaks_goes_on_where_it_stopped(
    editor: Visitor, house: House, tmp_path: Path
) -> None:
    editor.refusals_allowed = True
    big = tmp_path / "big.mkv"
    big.write_bytes(os.urandom(12_000_000))
    offsets: list[int] = []
    page = editor.page
    page.on("request", lambda sent: offsets.append(int(sent.headers.get("upload-offset", -1))))
    with BreakingLine(urlsplit(house.url).port or 0, cut_after=(3_000_000, 6_000_000)) as line:
        page.goto(f"{line.url}/admin/upload")
        page.get_by_label("Choose files").set_input_files(big)
        row = page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")
        link = row.get_by_role("link", name="Open the film")
        expect(link).to_be_visible(timeout=30_000)
    with house.api() as api:
        source = api.get(f"/assets/{str(link.get_attribute('href')).rpartition('/')[2]}").json()["source"]
    assert source["sha256"] == hashlib.sha256(big.read_bytes()).hexdigest()
    assert line.breaks and max(offsets) >= 1 << 20, "it began again instead of going on"
    page.goto("about:blank")
    editor.faults.clear()


def test_files_that_are_films_already_wait_for_a_decision_and_others_are_summed_up(
    editor: Visitor, house: House, film: dict[str, Any], short_film: Path, tmp_path: Path
) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("no film and nobody's duplicate")
    page = editor.go("/admin/upload")
    page.get_by_label("Choose files").set_input_files([short_film, other])
    rows = page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")
    expect(page.get_by_role("group", name="All files together")).to_contain_text("2 of 2 sent", timeout=20_000)
    held = rows.filter(has_text=short_film.name)
    expect(held).to_contain_text("You have this film already: The short film.", timeout=20_000)
    page.reload()
    held = rows.filter(has_text="You have this film already")
    expect(held).to_have_count(1)
    assert held.get_by_role("link", name="The short film").get_attribute("href") == f"/admin/assets/{film['id']}"
    held.get_by_role("button", name=f"Discard {short_film.name}").click()
    expect(rows.filter(has_text=short_film.name)).to_contain_text("Discarded. The film that was there stays.")
    page.get_by_role("button", name="Clear finished").click()
    expect(rows).to_have_count(0)
    page.get_by_label("Choose files").set_input_files(short_film)
    rows.get_by_role("button", name=f"Keep both: {short_film.name}").click(timeout=20_000)
    link = rows.get_by_role("link", name="Open the film")
    expect(link).to_be_visible()
    with house.api() as api:
        kept = api.get(f"/assets/{str(link.get_attribute('href')).rpartition('/')[2]}").json()
        assert kept["id"] != film["id"] and kept["source"]["sha256"] == film["source"]["sha256"]
        api.delete(f"/assets/{kept['id']}")


def test_what_is_no_film_is_told_before_all_of_it_is_sent(editor: Visitor, tmp_path: Path) -> None:
    contract = tmp_path / "contract.mp4"
    contract.write_bytes(b"%PDF-1.7\n" + os.urandom(12_000_000))
    page = editor.go("/admin/upload")
    slow = editor.context.new_cdp_session(page)
    slow.send("Network.enable")
    slow.send("Network.emulateNetworkConditions", SLOW)
    page.get_by_label("Choose files").set_input_files(contract)
    row = page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")
    slow.send("Network.emulateNetworkConditions", {**SLOW, "uploadThroughput": 1_000_000})
    expect(row.get_by_role("alert")).to_contain_text("It is a PDF document", timeout=15_000)
    expect(row).to_have_attribute("data-state", "sending")
    row.get_by_role("button", name="Cancel contract.mp4").click()
    expect(row.get_by_role("alert")).to_be_hidden()
    slow.detach()


def test_a_film_is_imported_from_a_web_address(editor: Visitor, house: House, own_film: Path) -> None:
    editor.refusals_allowed = True
    page = editor.go("/admin/upload")
    address, rows = (
        page.get_by_label("Or import from a web address"),
        page.get_by_role("list", name="Uploads", exact=True),
    )
    address.fill("ftp://example.org/film.mp4")
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("alert").filter(has_text="it must begin with https://")).to_be_visible()
    with FilmServer(own_film.read_bytes(), pause_s=0.2) as server:
        server.answers = [says(404)]
        address.fill(server.url.replace("%20", " "))
        page.get_by_role("button", name="Import").click()
        row = rows.get_by_role("listitem").filter(has_text="My film.mp4")
        expect(row).to_contain_text("The other server answered 404", timeout=20_000)
        row.get_by_role("button", name="Try again").click()
        expect(row.get_by_role("link", name="Open the film")).to_be_visible(timeout=30_000)
        slow = FilmServer(os.urandom(9_000_000), pause_s=0.5)
        with slow:
            address.fill(slow.url)
            page.get_by_role("button", name="Import").click()
            row = rows.get_by_role("listitem").filter(has=page.get_by_role("button", name="Cancel My film.mp4"))
            expect(row).to_contain_text("9.0 MB", timeout=60_000)
            row.get_by_role("button", name="Cancel My film.mp4").click()
            expect(rows.get_by_role("listitem").filter(has_text="Cancelled. Nothing was kept.")).to_have_count(1)


class TestAfterAReload:
    """The page is loaded again in the middle of an upload, as after a crash of the browser."""

    @pytest.fixture
    def big(self, tmp_path: Path) -> Path:
        big = tmp_path / "big.mkv"
        big.write_bytes(os.urandom(12_000_000))
        return big

    @pytest.fixture
    def interrupted(self, editor: Visitor, big: Path) -> Page:
        """The page after the reload; the line is as fast as it is again."""
        page = editor.go("/admin/upload")
        page.on("dialog", lambda asked: asked.accept())
        line = editor.context.new_cdp_session(page)
        line.send("Network.enable")
        line.send("Network.emulateNetworkConditions", SLOW)
        page.get_by_label("Anyone with the link").check()
        page.get_by_label("Choose files").set_input_files(big)
        row = page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")
        expect(row.get_by_role("status")).to_have_text(re.compile(r"^[4-9]\d %"), timeout=10_000)
        page.reload()
        line.send("Network.emulateNetworkConditions", {**SLOW, "uploadThroughput": -1})
        line.detach()
        editor.refusals_allowed = True
        return page

    def test_the_same_file_goes_on_where_it_stopped(
        self, editor: Visitor, house: House, interrupted: Page, big: Path
    ) -> None:
        page, sent = interrupted, _sent(interrupted)
        waiting = page.get_by_role("list", name="Unfinished uploads").get_by_role("listitem")
        expect(waiting).to_contain_text("big.mkv")
        expect(waiting).to_contain_text(re.compile(r"[1-9]\d % of 12.0 MB sent · Anyone with the link"))
        page.get_by_label("Choose files").set_input_files(big)
        link = page.get_by_role("list", name="Uploads", exact=True).get_by_role("link", name="Open the film")
        expect(link).to_be_visible(timeout=30_000)
        expect(waiting).to_have_count(0)
        offsets = [offset for method, offset in sent if method == "PATCH"]
        assert [method for method, _ in sent if method == "POST"] == [] and len(offsets) == 1
        assert 1_000_000 < offsets[0] < 12_000_000, "the bytes that were there are not sent again"
        with house.api() as api:
            asset = api.get(f"/assets/{str(link.get_attribute('href')).rpartition('/')[2]}").json()
        assert asset["source"]["sha256"] == hashlib.sha256(big.read_bytes()).hexdigest()
        assert asset["playback_ids"][0]["policy"] == "public"
        assert _remembered(page) == []

    def test_it_can_be_discarded(self, editor: Visitor, house: House, interrupted: Page) -> None:
        page, (path,) = interrupted, _remembered(interrupted)
        page.get_by_role("button", name="Discard big.mkv").click()
        expect(page.get_by_role("heading", name="Unfinished uploads")).to_be_hidden()
        assert _remembered(page) == []
        with house.api() as api:
            assert api.get(path.replace("/api/v1/tus/", "/uploads/")).json()["state"] == "failed"
        page.reload()
        expect(page.get_by_role("heading", name="Unfinished uploads")).to_be_hidden()

    def test_what_has_expired_meanwhile_begins_anew_without_a_word(
        self, editor: Visitor, house: House, interrupted: Page, big: Path
    ) -> None:
        page, (path,), sent = interrupted, _remembered(interrupted), _sent(interrupted)
        expect(page.get_by_role("heading", name="Unfinished uploads")).to_be_visible()
        _expire(house, path.rpartition("/")[2])
        page.get_by_label("Choose files").set_input_files(big)
        row = page.get_by_role("list", name="Uploads", exact=True).get_by_role("listitem")
        expect(row.get_by_role("link", name="Open the film")).to_be_visible(timeout=30_000)
        assert [method for method, _ in sent][:2] == ["HEAD", "POST"]
        assert _remembered(page) == []


def _sent(page: Page) -> list[tuple[str, int]]:
    """What goes to the server from now on, and at which offset."""
    sent: list[tuple[str, int]] = []

    def note(request: Any) -> None:
        if "/api/v1/tus" in request.url:
            sent.append((request.method, int(request.headers.get("upload-offset", -1))))

    page.on("request", note)
    return sent


def _remembered(page: Page) -> list[str]:
    """Paths of the uploads in the browser's memory."""
    return list(
        page.evaluate("""() => Object.keys(localStorage).filter((key) => key.startsWith('tus::'))
            .map((key) => new URL(JSON.parse(localStorage[key]).uploadUrl, location).pathname)""")
    )


def _expire(house: House, upload_id: str) -> None:
    with db.session(house.services) as s:
        row = s.get_one(Upload, upload_id)
        row.state, row.error = "failed", {"code": "expired"}
