"""Films are watched in a real browser while they grow: from the first second, through all stages, without a visible break."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from streamer.catalog.tables import Stage
from tests.house import House, Visitor, until, visit
from tests.streamer.site.growth import GrowingFilm, entries
from tests.streamer.site.test_player import choose
from tests.whole import Product, make_film

pytestmark = pytest.mark.timeout(300)

VIDEO = "document.querySelector('hls-video')"
PLAYER = "document.querySelector('[data-player]')"

# Twenty times a second what the viewer sees.
RECORDER = """
window.__seen = []; window.__seeks = 0;
addEventListener('DOMContentLoaded', () => document.querySelector('hls-video')?.addEventListener('seeking', () => { window.__seeks += 1; }));
addEventListener('DOMContentLoaded', () => setInterval(() => {
  const video = document.querySelector('hls-video')?.nativeEl;
  if (video) window.__seen.push({ at: performance.now() / 1000, time: video.currentTime, duration: video.duration, rate: video.playbackRate, width: video.videoWidth,
    seeks: window.__seeks, seeking: video.seeking, paused: video.paused, ended: video.ended, frames: video.getVideoPlaybackQuality().totalVideoFrames });
}, 50));
"""

QUICK_PULSE = """
const json = Response.prototype.json;
Response.prototype.json = async function () {
  const found = await json.call(this);
  return found.heartbeat_interval_s ? { ...found, heartbeat_interval_s: 0.5 } : found;
};
"""


@pytest.fixture(scope="module")
def lender(house: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Seven segments in two rungs."""
    film = make_film(tmp_path_factory.mktemp("film") / "lender.mp4", seconds=42, size="480x270")
    return house.ready(house.upload(film, title="Lender")["id"])


@pytest.fixture
def growing(house: House, lender: dict[str, Any]) -> GrowingFilm:
    film = GrowingFilm(house, lender["id"])
    film.grow(Stage.START, 1)
    return film


@pytest.fixture
def watching(visitor: Visitor, growing: GrowingFilm) -> Page:
    """The film's page, playing, with a quick pulse."""
    page = open_page(visitor, growing)
    page.get_by_role("button", name="play").first.click()
    until(page, f"{VIDEO}.currentTime > 0.2")
    return page


def open_page(visitor: Visitor, film: GrowingFilm) -> Page:
    visitor.context.add_init_script(RECORDER)
    visitor.context.add_init_script(QUICK_PULSE)
    return visitor.go(f"/watch/{film.playback_id}")


def seen(page: Page) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = page.evaluate("window.__seen")
    return [row for row in rows if row["frames"]]


def assert_unbroken(rows: list[dict[str, Any]]) -> None:
    """The picture never stands still for a second, never jumps; seconds of the film cost seconds. Where somebody seeks is left out."""
    longest = stood = 0.0
    for before, now in zip(rows, rows[1:], strict=False):
        passed, played = now["at"] - before["at"], now["time"] - before["time"]
        if before["seeks"] != now["seeks"] or now["seeking"] or now["paused"]:
            stood = 0.0
            continue
        assert played > -0.5, f"back from {before['time']} to {now['time']}"
        assert played < now["rate"] * passed + 0.5, f"ahead from {before['time']} to {now['time']}"
        stood = stood + passed if now["frames"] == before["frames"] and not now["ended"] else 0.0
        longest = max(longest, stood)
    assert longest < 1, f"the picture stood still for {longest:.2f} s"


def test_a_viewer_starts_at_0_and_is_taken_through_all_stages_to_the_end(
    visitor: Visitor, growing: GrowingFilm
) -> None:
    asked = entries(visitor.page)
    page = open_page(visitor, growing)
    page.get_by_role("button", name="play").first.click()
    until(page, f"{VIDEO}.currentTime > 0.2")
    assert seen(page)[0]["time"] < 0.5
    page.evaluate(f"{VIDEO}.volume = 0.5")
    growing.grow(Stage.START, 3)
    until(page, f"{VIDEO}.duration > 17", timeout_s=5)
    growing.grow(Stage.GROW, 4)
    until(page, f"{VIDEO}.nativeEl.videoWidth === 480", timeout_s=12)
    assert page.evaluate(f"{PLAYER}.hls.levels.length") == 2
    growing.finish()
    until(page, f"{VIDEO}.duration > 41", timeout_s=10)
    page.evaluate(f"{VIDEO}.playbackRate = 2")
    until(page, f"{VIDEO}.ended", timeout_s=40)
    assert asked == ["start", "grow", "master"]
    assert page.evaluate(f"[{VIDEO}.volume, {VIDEO}.playbackRate]") == [0.5, 2]
    rows = seen(page)
    assert_unbroken(rows)
    assert rows[-1]["time"] == pytest.approx(42, abs=0.2)
    assert rows[-1]["frames"] > 0.95 * 15 * 42


def test_what_exists_can_be_sought_and_what_comes_is_said(watching: Page, growing: GrowingFilm) -> None:
    words = watching.locator("[data-growing]")
    watching.locator("media-controller").hover()
    expect(words).to_be_visible()
    expect(words).to_have_text("of 0:42, still being prepared")
    growing.grow(Stage.START, 5)
    until(watching, f"{VIDEO}.duration > 29", timeout_s=5)
    for second in (26, 8):
        watching.evaluate(f"{VIDEO}.currentTime = {second}")
        until(watching, f"!{VIDEO}.seeking && {VIDEO}.currentTime > {second + 0.5}")
    growing.finish()
    expect(words).to_be_hidden()
    watching.evaluate(f"{VIDEO}.currentTime = 40")
    until(watching, f"{VIDEO}.ended")
    assert_unbroken(seen(watching))


def test_a_viewer_at_the_end_of_what_exists_waits_and_goes_on(watching: Page, growing: GrowingFilm) -> None:
    until(watching, f"{VIDEO}.currentTime > 5.5", timeout_s=10)
    watching.wait_for_timeout(1500)
    assert watching.evaluate(f"{VIDEO}.currentTime") < 6.1 and not watching.evaluate(f"{VIDEO}.ended")
    growing.grow(Stage.GROW, 3)
    until(watching, f"{VIDEO}.currentTime > 8", timeout_s=8)
    times = [row["time"] for row in seen(watching)]
    assert times == sorted(times)


def test_a_better_stage_that_is_behind_the_viewer_is_not_taken(watching: Page, growing: GrowingFilm) -> None:
    growing.grow(Stage.START, 6)
    until(watching, f"{VIDEO}.duration > 35", timeout_s=5)
    watching.evaluate(f"{VIDEO}.currentTime = 20")
    growing.grow(Stage.GROW, 2)
    until(watching, f"{VIDEO}.currentTime > 23")
    assert watching.evaluate(f"{PLAYER}.hls.levels.length") == 1
    growing.grow(Stage.GROW, 6)
    until(watching, f"{PLAYER}.hls.levels.length === 2")
    assert_unbroken(seen(watching))


def test_a_paused_film_moves_up_and_stays_paused(visitor: Visitor, growing: GrowingFilm) -> None:
    page = open_page(visitor, growing)
    until(page, f"{VIDEO}.duration > 5")
    growing.finish()
    until(page, f"{VIDEO}.duration > 41", timeout_s=10)
    assert page.evaluate(f"[{VIDEO}.paused, {VIDEO}.currentTime]") == [True, 0]
    page.get_by_role("button", name="play").first.click()
    until(page, f"{VIDEO}.currentTime > 7", timeout_s=15)
    assert_unbroken(seen(page))


def test_a_chosen_quality_stays_chosen(watching: Page, growing: GrowingFilm) -> None:
    growing.grow(Stage.GROW, 4)
    until(watching, f"{PLAYER}.hls.levels.length === 2")
    choose(watching, "Quality", "234p")
    growing.finish()
    until(watching, f"{VIDEO}.duration > 41", timeout_s=10)
    until(watching, f"{VIDEO}.currentTime > 13", timeout_s=20)
    assert watching.evaluate(f"[{VIDEO}.nativeEl.videoWidth, {PLAYER}.hls.autoLevelEnabled]") == [416, False]


def test_a_film_whose_making_ends_is_played_as_far_as_it_goes(
    watching: Page, house: House, browser: Browser, growing: GrowingFilm
) -> None:
    growing.grow(Stage.START, 2)
    growing.fail()
    expect(watching.locator("[data-growing]")).to_have_text("of 0:42, the rest is missing")
    until(watching, f"{VIDEO}.currentTime > 10", timeout_s=20)
    with visit(house, browser) as late:
        page = late.go(f"/watch/{growing.playback_id}")
        expect(page.get_by_role("heading", name="There is no film to play yet")).to_be_visible()


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    with Product(folder / "var", STREAMER_DELIVERY__GROWING_HEARTBEAT_S="1") as product:
        yield product


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "long.mp4", seconds=30, size="854x480", fps=30)


@pytest.fixture(scope="module")
def even_film(long_film: Path, ffmpeg: str) -> Path:
    """The same with a key frame every two seconds at a modest rate: its pictures can be published as they are."""
    path = long_film.with_name("even.mp4")
    coding = "-c:v libx264 -preset ultrafast -g 60 -sc_threshold 0 -b:v 1M -maxrate 1.2M -bufsize 1M -c:a copy".split()
    subprocess.run([ffmpeg, "-v", "error", "-i", str(long_film), *coding, str(path)], check=True, timeout=120)
    return path


@pytest.mark.parametrize("kind", ["even_film", "long_film"])
def test_a_film_is_watched_while_it_is_encoded(
    kind: str, request: pytest.FixtureRequest, product: Product, browser: Browser
) -> None:
    asset = product.upload(request.getfixturevalue(kind), policy="public").json["asset"]
    with visit(product, browser) as visitor:  # type: ignore[arg-type]
        visitor.context.add_init_script(RECORDER)
        asked = entries(visitor.page)
        page = visitor.go(f"/watch/{asset['playback_ids'][0]['id']}")
        until(page, f"{VIDEO}.currentTime > 0.2", timeout_s=60)
        now = product.asset(asset["id"])
        assert now["processing"] != "ready" and now["playable"]
        until(page, f"{VIDEO}.currentTime > 16", timeout_s=120)
        page.evaluate(f"{VIDEO}.pause()")  # an encoder that has to share its machine may need longer than the film
        product.settled(asset["id"])
        until(page, f"{PLAYER}.hls.levels.length > 1")
        page.evaluate(f"{VIDEO}.play()")
        until(page, f"{VIDEO}.ended", timeout_s=60)
        rows = seen(page)
        visitor.check()
    assert rows[0]["time"] < 0.5
    assert asked[0] in ("start", "grow") and asked[-1] == "master"
    assert rows[-1]["time"] == pytest.approx(30, abs=0.2)
    assert rows[-1]["width"] == 854
    assert_unbroken([row for row in rows if row["time"] < row["duration"] - 0.7])  # at the end of what exists one waits
