"""Every page of the admin and the site, found by its route: judged by axe-core, and by what it does not look for, on a telephone and on a desk."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from playwright.sync_api import Browser, Page, ViewportSize
from starlette.routing import Route

from streamer.app import create_app
from streamer.services import close_services
from tests.admin.test_access import FAULTS
from tests.clients import installed
from tests.house import House, Visitor, visit

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PHONE, DESK = ViewportSize(width=390, height=844), ViewportSize(width=1280, height=800)
SEEN: tuple[tuple[ViewportSize, Literal["light", "dark"]], ...] = ((PHONE, "light"), (DESK, "dark"))
LONG = "A summer by the sea, with a name that goes on and on" + "overandover" * 12
# The player's clock is excused: media-chrome calls the button "playback time", whatever time it shows.
JUDGE = """async (tags) => {
  const { violations } = await axe.run({ exclude: ['media-time-display'] }, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'], preload: false, iframes: false });
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 160)} ${node.failureSummary}`));
}"""
CUT = """() => [...document.querySelectorAll('.table-wrap')]
  .filter((e) => e.querySelector('table') && e.checkVisibility() && e.scrollWidth > e.clientWidth)
  .map((e) => `a table is cut: ${e.ariaLabel}`)"""
# Colours turn by transitions.
SETTLED = """async () => {
  await Promise.allSettled(document.getAnimations().filter((one) => one instanceof CSSTransition).map((one) => one.finished));
}"""
# Of other servers: nothing is asked of them here.
LEADS_AWAY = {"/admin/sign-in/{provider}", "/admin/sign-in/{provider}/callback"}


@contextmanager
def filled(house: House, film: dict[str, Any]) -> Iterator[dict[str, str]]:
    """One of everything, and where its page is: `/admin/plans/{id}` by its route."""
    with house.api() as api:

        def made(path: str, **facts: Any) -> str:
            answer = api.post(path, json=facts)
            assert answer.status_code == 201, answer.text
            there.append(f"{path}/{answer.json()['id']}")
            return str(answer.json()["id"])

        there: list[str] = []
        collection = made("/collections", name=LONG, description="First line\nSecond line")
        assert api.post(f"/collections/{collection}/films", json={"asset_id": film["id"]}).is_success
        made(f"/collections/{collection}/grants", role="viewer", access="view")
        made("/invitations", email="guest@example.org", role="member")
        pages = {
            "/watch/{playback_id}": f"/watch/{film['playback_ids'][0]['id']}",
            "/watch/{playback_id}/state": f"/watch/{film['playback_ids'][0]['id']}/state",
            "/docs/{tag}": "/docs/plans",
            "/admin/assets/{id}": f"/admin/assets/{film['id']}",
            "/admin/collections/{id}": f"/admin/collections/{collection}",
            "/admin/people/{id}": f"/admin/people/{api.get('/me').json()['id']}",
            "/admin/plans/{id}": f"/admin/plans/{made('/plans', name=LONG)}",
            "/admin/roles/{name}": "/admin/roles/editor",
            "/admin/webhooks/{id}": f"/admin/webhooks/{made('/webhook-endpoints', url='https://hooks.invalid/', types=['*'])}",
        }
        yield pages
        for one in reversed(there):
            api.delete(one)


def routes(house: House) -> list[str]:
    """What can be opened, apart from the API."""
    app = create_app(house.services.config)
    close_services(app.state.services)
    found = [one.path for one in app.routes if isinstance(one, Route) and "GET" in (one.methods or ())]
    return [path for path in found if path not in LEADS_AWAY]


def address(route: str, pages: dict[str, str]) -> str:
    found = pages.get(route, route)
    assert "{" not in found, f"say in `filled` where a page of {route} is"
    return found


def judged(visitor: Visitor, paths: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """What is wrong with each, and those that lead to the sign-in page."""
    wrong, closed = {}, []
    for path in paths:
        answer = visitor.context.request.get(visitor.url + path, max_redirects=0)
        if "?next=" in answer.headers.get("location", ""):
            closed.append(path)
        elif answer.headers.get("content-type", "").startswith("text/html"):
            wrong[path] = faults(visitor.go(path))
    return wrong, closed


def faults(page: Page) -> list[str]:
    """On a telephone in light, then on a desk in dark. Loading a page costs as much as judging it, so it is loaded once."""
    if page.locator("main [x-data], [data-player]").count():
        page.wait_for_load_state("networkidle")  # what it shows comes from the API
    found = []
    for size, theme in SEEN:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=theme)
        page.evaluate(SETTLED)
        found += [*page.evaluate(JUDGE, TAGS), *page.evaluate(FAULTS), *page.evaluate(CUT)]
    return found


def test_every_page_is_accessible_labelled_large_enough_and_fits(
    house: House, browser: Browser, film: dict[str, Any]
) -> None:
    with filled(house, film) as pages, visit(house, browser) as visitor:
        visitor.refusals_allowed = True  # a link from a letter that has nothing in it
        visitor.context.add_init_script(path=installed() / "axe-core" / "axe.min.js")
        paths = [address(route, pages) for route in dict.fromkeys(routes(house))]
        wrong, closed = judged(visitor, [*paths, "/docs?q=nothing+like+it", "/nowhere"])
        visitor.sign_in().wait_for_url(visitor.url + "/admin")
        inside, still_closed = judged(visitor, closed)
        visitor.check()
    assert not any({**wrong, **inside}.values()), re.sub(r"\n\s*", " ", str({**wrong, **inside}))
    assert len(inside) > 10 and not still_closed
