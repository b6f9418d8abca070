import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect

from tests.house import House, Visitor
from tests.line import BreakingLine

SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 3_000_000}


def test_a_film_chosen_from_disk_is_sent_prepared_and_ready_without_leaving_the_page(
    editor: Visitor, short_film: Path
) -> None:
    page = editor.go("/admin/upload")
    page.get_by_label("Choose files").set_input_files(short_film)
    row = page.get_by_role("list", name="Uploads").get_by_role("listitem")
    expect(row).to_contain_text(short_film.name)
    expect(row.get_by_role("progressbar")).to_be_visible()
    expect(row).to_have_attribute("data-state", "preparing", timeout=20_000)
    expect(row).to_have_attribute("data-state", "ready", timeout=120_000)
    row.get_by_role("link", name="Open the film").click()
    expect(page.get_by_label("Title")).to_have_value(short_film.stem)
    expect(page.locator("[data-player]")).to_have_attribute("data-state", "ready")


def test_the_progress_bar_follows_the_bytes_and_says_speed_and_time_left(editor: Visitor, tmp_path: Path) -> None:
    big = tmp_path / "big.mkv"
    big.write_bytes(b"\x1a\x45\xdf\xa3" * 3_000_000)
    page = editor.go("/admin/upload")
    slow = editor.context.new_cdp_session(page)
    slow.send("Network.enable")
    slow.send("Network.emulateNetworkConditions", SLOW)
    page.get_by_label("Choose files").set_input_files(big)
    row = page.get_by_role("list", name="Uploads").get_by_role("listitem")
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
    rows = page.get_by_role("list", name="Uploads").get_by_role("listitem")
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
    expect(page.get_by_role("list", name="Uploads").get_by_role("listitem")).to_have_count(3)


def test_an_upload_that_cannot_begin_says_so_and_goes_on_by_itself(editor: Visitor, short_film: Path) -> None:
    editor.refusals_allowed = True
    page = editor.go("/admin/upload")
    page.route("**/api/v1/tus**", lambda route: route.abort("connectionreset"))
    page.get_by_label("Choose files").set_input_files(short_film)
    row = page.get_by_role("list", name="Uploads").get_by_role("listitem")
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
        row = page.get_by_role("list", name="Uploads").get_by_role("listitem")
        link = row.get_by_role("link", name="Open the film")
        expect(link).to_be_visible(timeout=30_000)
    with house.api() as api:
        source = api.get(f"/assets/{str(link.get_attribute('href')).rpartition('/')[2]}").json()["source"]
    assert source["sha256"] == hashlib.sha256(big.read_bytes()).hexdigest()
    assert line.breaks and max(offsets) >= 1 << 20, "it began again instead of going on"
    page.goto("about:blank")
    editor.faults.clear()
