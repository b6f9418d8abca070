"""The player in a real browser on real media: what it decodes, what it can do, and what it says when it can't."""

import re
from html import escape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from streamer import db
from streamer.catalog import versions
from streamer.catalog.tables import Asset, Version
from tests.admin.rows import put_film
from tests.house import House, Visitor, until
from tests.packager import films
from tests.packager.films import Film

DECODED = "document.querySelector('hls-video').nativeEl.getVideoPlaybackQuality().totalVideoFrames"
WIDTH = "document.querySelector('hls-video').nativeEl.videoWidth"
HLS = "document.querySelector('[data-player]').hls"


@pytest.fixture
def watching(visitor: Visitor, film: dict[str, Any]) -> Page:
    """The film's page, playing."""
    page = visitor.go(f"/watch/{film['playback_ids'][0]['id']}")
    page.get_by_role("button", name="play").first.click()
    until(page, f"{DECODED} > 10")
    return page


def choose(page: Page, menu: str, item: str) -> None:
    page.get_by_role("button", name="settings").click()
    page.get_by_role("menuitem", name=menu).click()
    page.get_by_role("menuitemradio", name=item, exact=True).click()
    if not page.locator("media-settings-menu").evaluate("(menu) => menu.hidden"):
        page.get_by_role("button", name="settings").click()
    expect(page.locator("media-settings-menu")).to_be_hidden()


def test_frames_of_two_rungs_are_decoded_when_the_quality_is_changed_by_its_menu(watching: Page) -> None:
    assert watching.evaluate(f"{HLS}.levels.map((level) => level.height)") == [234, 270]
    for name, width, second in (("234p", 416, 6.5), ("270p", 480, 12.5)):
        choose(watching, "Quality", name)
        watching.evaluate(f"document.querySelector('hls-video').currentTime = {second}")  # a segment not fetched before
        until(watching, f"{WIDTH} === {width}")
        before = watching.evaluate(DECODED)
        until(watching, f"{DECODED} > {before} + 10")


def test_the_whole_film_plays_to_its_end(watching: Page) -> None:
    choose(watching, "Speed", "2x")
    until(watching, "document.querySelector('hls-video').ended", timeout_s=30)
    quality = "document.querySelector('hls-video').nativeEl.getVideoPlaybackQuality()"
    assert watching.evaluate(f"{quality}.totalVideoFrames") >= 200
    assert watching.evaluate("document.querySelector('hls-video').duration") == pytest.approx(16, abs=0.1)


def test_keys_play_pause_mute_and_seek_as_soon_as_play_was_pressed(watching: Page) -> None:
    watching.keyboard.press("k")
    until(watching, "document.querySelector('media-play-button').hasAttribute('mediapaused')")
    watching.keyboard.press("m")
    until(watching, "document.querySelector('hls-video').muted")
    watching.keyboard.press("ArrowRight")
    until(watching, "document.querySelector('hls-video').currentTime >= 10")
    watching.keyboard.press(" ")
    until(watching, "!document.querySelector('hls-video').paused || document.querySelector('hls-video').ended")


def test_a_film_that_was_ready_waits_for_a_press_and_shows_its_poster(visitor: Visitor, film: dict[str, Any]) -> None:
    page = visitor.go(f"/watch/{film['playback_ids'][0]['id']}")
    expect(page.locator("[data-player]")).to_have_attribute("data-state", "ready")
    expect(page.locator("media-poster-image")).to_have_attribute("src", re.compile(r"/poster\.jpg$"))
    until(page, "document.querySelector('hls-video').duration > 15")
    assert page.evaluate("document.querySelector('hls-video').paused")


def test_heartbeats_go_out_and_a_renewed_token_is_used_for_what_is_fetched_next(
    visitor: Visitor, film: dict[str, Any]
) -> None:
    page = visitor.page
    page.route(
        "**/heartbeat",
        lambda route: route.fulfill(
            json={"alive": True, "expires_at": None, "manifest_url": "/p/RENEWED/a/b/master.m3u8"}
        ),
    )
    page.route("**/api/v1/playback-sessions", lambda route: _beat_often(route))
    asked: list[str] = []
    page.route(
        "**/p/RENEWED/**",
        lambda route: (
            asked.append(route.request.url),
            route.fallback(url=route.request.url.replace("RENEWED", token[0])),
        ),
    )
    token: list[str] = []
    page.on(
        "response",
        lambda answer: token.append(answer.url.split("/p/")[1].split("/")[0]) if "master.m3u8" in answer.url else None,
    )
    visitor.go(f"/watch/{film['playback_ids'][0]['id']}")
    until(page, f"{HLS}?.levels.length === 2")
    with page.expect_response("**/heartbeat"):
        pass
    page.evaluate(f"{HLS}.nextLevel = 0")
    page.get_by_role("button", name="play").first.click()
    until(page, f"{DECODED} > 10")
    assert any(url.endswith((".m4s", ".mp4", ".m3u8")) for url in asked)


def _beat_often(route: Any) -> None:
    answer = route.fetch()
    route.fulfill(status=answer.status, json=answer.json() | {"heartbeat_interval_s": 0.3})


def test_a_session_that_was_ended_on_the_server_is_said_and_can_be_started_again(
    visitor: Visitor, film: dict[str, Any]
) -> None:
    page = visitor.page
    page.route(
        "**/heartbeat", lambda route: route.fulfill(json={"alive": False, "expires_at": None, "manifest_url": None})
    )
    page.route("**/api/v1/playback-sessions", lambda route: _beat_often(route), times=1)
    visitor.go(f"/watch/{film['playback_ids'][0]['id']}")
    expect(page.get_by_role("heading", name="Your viewing was ended")).to_be_visible()
    page.unroute("**/heartbeat")
    page.get_by_role("button", name="Try again").click()
    until(page, f"{DECODED} > 10")


def test_a_refused_token_is_replaced_by_a_fresh_session_without_a_word(visitor: Visitor, film: dict[str, Any]) -> None:
    page = visitor.page
    sessions: list[str] = []
    page.on(
        "request", lambda request: sessions.append(request.url) if request.url.endswith("/playback-sessions") else None
    )
    page.route("**/*.m4s", lambda route: route.fulfill(status=403) if len(sessions) < 2 else route.fallback())
    visitor.go(f"/watch/{film['playback_ids'][0]['id']}")
    page.get_by_role("button", name="play").first.click()
    until(page, f"{DECODED} > 10", timeout_s=20)
    expect(page.locator("[data-player]")).to_have_attribute("data-state", "ready")
    assert len(sessions) == 2
    visitor.faults.clear()  # the refusals are what this test made


def test_a_film_in_the_making_says_how_far_it_is_and_starts_by_itself_when_ready(
    visitor: Visitor, house: House, film: dict[str, Any]
) -> None:
    asset_id, version_id, playback_id = put_film(house, "Soon", "encoding")
    page = visitor.go(f"/watch/{playback_id}")
    expect(page.get_by_role("heading", name="This film is being prepared")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Encoding")).to_be_visible()
    lend_media(house, asset_id, version_id, film["id"])
    until(page, f"{DECODED} > 10", timeout_s=10)


def lend_media(house: House, asset_id: str, version_id: str, lender_id: str) -> None:
    """Make the film ready with the media of another, copied to its own folder."""
    with db.session(house.services) as s:
        lender = s.get_one(Version, s.get_one(Asset, lender_id).live_version_id)
        folder = f"{asset_id}/{lender.path.partition('/')[2]}"  # type: ignore[union-attr]
        for stored in list(house.services.store.list(f"{lender.path}/")):
            house.services.store.copy(stored.key, stored.key.replace(lender.path, folder))  # type: ignore[arg-type]
        facts = versions.Facts(folder, lender.duration_s or 0, lender.width, lender.height, lender.poster, (), {})
        versions.publish(s, version_id, facts)


def test_a_film_that_failed_says_so_without_its_owners_details(visitor: Visitor, house: House) -> None:
    error = {
        "code": "x",
        "title": "secret title",
        "detail": "secret detail",
        "retryable": False,
        "attempt": 1,
        "next_retry_at": None,
    }
    _, _, playback_id = put_film(house, "Failed film", "errored", error=error)
    page = visitor.go(f"/watch/{playback_id}")
    expect(page.get_by_role("heading", name="There is no film to play yet")).to_be_visible()
    assert "secret" not in page.content()


def test_media_that_cannot_be_fetched_ends_in_words_and_a_way_on(visitor: Visitor, film: dict[str, Any]) -> None:
    visitor.refusals_allowed = True
    page = visitor.page
    page.route("**/master.m3u8", lambda route: route.fulfill(status=404, body=""))
    visitor.go(f"/watch/{film['playback_ids'][0]['id']}")
    expect(page.get_by_role("heading", name="A part of the film is missing")).to_be_visible(timeout=20_000)
    page.unroute("**/master.m3u8")
    page.get_by_role("button", name="Try again").click()
    until(page, f"{DECODED} > 10")


def test_markup_in_captions_is_shown_as_text_and_nothing_of_it_happens(
    visitor: Visitor, house: House, tmp_path: Path
) -> None:
    canary = '<img src=x onerror="window.__canary=1"><script>window.__canary=1</script>'
    cues = [(0.1, 1.5, canary), (1.5, 3.8, f"{escape(canary)} was here")]
    path = films.subtitled(tmp_path / "film.mkv", cues, Film(seconds=4.0))
    film = house.ready(house.upload(path, title="Captions", policy="public")["id"])
    page = visitor.go(f"/watch/{film['playback_ids'][0]['id']}")
    page.get_by_role("button", name="play").first.click()
    page.evaluate(f"{HLS}.subtitleTrack = 0; {HLS}.subtitleDisplay = true;")
    shown = "[...document.querySelector('hls-video').nativeEl.textTracks].flatMap((track) => [...(track.activeCues ?? [])]).map((cue) => cue.getCueAsHTML())"
    until(page, f"{shown}.some((html) => html.textContent.includes('was here'))", timeout_s=20)
    assert page.evaluate(f"{shown}.flatMap((html) => [...html.querySelectorAll('img, script')]).length") == 0
    assert page.evaluate("window.__canary") is None
