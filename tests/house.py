"""The whole product as people start it, and a browser in front of it: `streamer up` on a free port with one account and one film.

Started once per pytest process. A browser lives as long as a test module: Playwright's sync API keeps an event loop open, which async
tests of other modules would stumble over.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from streamer.config import Config
from streamer.services import Services, close_services, open_services
from tests.servers import ROOT, die_with_parent, free_port
from tests.web import NO_TLS
from tests.whole import first_account, make_film

EMAIL, NAME, PASSWORD = "ada@example.org", "Ada Lovelace", "correct horse battery"
_START_S = 60
_STREAMER = [sys.executable, "-m", "streamer"]
# Somebody signs in in most tests.
_QUICK = {**os.environ, "STREAMER_ACCOUNTS__ARGON2_TIME": "1", "STREAMER_ACCOUNTS__ARGON2_MEMORY_KIB": "64"}
# Letters are files in its data folder.
_QUICK |= {"STREAMER_ACCOUNTS__SIGN_UP": "open"}
# What it imports comes from servers of the tests.
_QUICK |= {"STREAMER_OUTBOUND__ALLOW_HTTP": "true", "STREAMER_OUTBOUND__ALLOW_PRIVATE": "true"}
# A refusal that a test provokes is logged by the browser; it is no fault of the page.
_PROVOKED = "Failed to load resource: the server responded with a status of"

_WATCH_POLICY = """
window.__violations = [];
document.addEventListener('securitypolicyviolation', (e) => window.__violations.push(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}`));
"""


@dataclass(frozen=True)
class House:
    """A running product: its address, its data folder, an API key of its administrator, and its services opened here too."""

    url: str
    data: Path
    key: str
    services: Services

    def api(self) -> httpx2.Client:
        """A program with the administrator's key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx2.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=30, verify=NO_TLS)

    def upload(self, film: Path, **query: str) -> dict[str, Any]:
        """The asset of a new upload."""
        with self.api() as api:
            answer = api.post("/uploads", params={"filename": film.name, **query}, content=film.read_bytes())
        assert answer.status_code == 201, answer.text
        asset: dict[str, Any] = answer.json()["asset"]
        return asset

    def ready(self, asset_id: str, timeout_s: float = 120) -> dict[str, Any]:
        """The asset once it plays."""
        deadline = time.monotonic() + timeout_s
        with self.api() as api:
            while time.monotonic() < deadline:
                asset: dict[str, Any] = api.get(f"/assets/{asset_id}").json()
                assert asset["processing"] not in ("errored", "cancelled"), asset["error"]
                if asset["processing"] == "ready":
                    return asset
                time.sleep(0.2)
        raise AssertionError(f"{asset_id} is not ready after {timeout_s} s")


@dataclass
class Visitor:
    """One browser context and what went wrong in it; `refusals` are allowed for tests that provoke them."""

    context: BrowserContext
    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    refusals_allowed: bool = False

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def sign_in(self, email: str = EMAIL, password: str = PASSWORD) -> Page:
        page = self.go("/admin/sign-in")
        page.get_by_label("Email").fill(email)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        return page

    def check(self) -> None:
        """No console error, no exception, no violation of the page policy."""
        violations = self.page.evaluate("window.__violations")
        faults = [fault for fault in self.faults if not (self.refusals_allowed and fault.startswith(_PROVOKED))]
        assert not violations and not faults


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """`streamer up`, ready, with an administrator and their key."""
    with TemporaryDirectory(prefix="house-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        data, port = Path(folder), free_port()
        with _up(data, port):
            config = Config.load(None, data / "var")
            key, services = first_account(config, EMAIL, NAME, PASSWORD), open_services(config)
            yield House(f"http://127.0.0.1:{port}", data / "var", key, services)
            close_services(services)


@pytest.fixture(scope="session")
def short_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo film in small: two rungs, three segments, encoded in moments."""
    return make_film(tmp_path_factory.mktemp("film") / "short.mp4", seconds=16, size="480x270")


@pytest.fixture(scope="session")
def film(house: House, short_film: Path) -> dict[str, Any]:
    """That film, public and ready to play."""
    return house.ready(house.upload(short_film, title="The short film", policy="public")["id"])


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Headless Chromium that may play sound without a press."""
    with sync_playwright() as playwright:
        # One process for all pages: to start one for each takes an eighth of the CPU time.
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--renderer-process-limit=1"]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture
def visitor(house: House, browser: Browser) -> Iterator[Visitor]:
    """A visitor with an empty browser; at the end of the test, nothing may have gone wrong in it."""
    with visit(house, browser) as visitor:
        yield visitor
        visitor.check()


@pytest.fixture
def editor(visitor: Visitor) -> Visitor:
    """The same, signed in as the administrator."""
    visitor.sign_in().wait_for_url("**/admin")
    return visitor


@contextmanager
def visit(house: House, browser: Browser, **options: Any) -> Iterator[Visitor]:
    """A browser of its own with these context options."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    context.add_init_script(_WATCH_POLICY)
    page = context.new_page()
    visitor = Visitor(context, page, house.url)
    page.on(
        "console", lambda message: visitor.faults.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: visitor.faults.append(str(error)))
    page.on("requestfailed", lambda request: _note_foreign(visitor, request.url))
    page.on("request", lambda request: _note_foreign(visitor, request.url))
    try:
        yield visitor
    finally:
        context.close()


def until(page: Page, expression: str, timeout_s: float = 15) -> None:
    """Wait for a JavaScript expression to be true. (`wait_for_function` needs eval, which our own page policy refuses it.)"""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not true after {timeout_s} s: {expression}"
        page.wait_for_timeout(50)


def _note_foreign(visitor: Visitor, url: str) -> None:
    if not url.startswith((visitor.url, "blob:", "data:")):
        visitor.faults.append(f"asked another host for {url}")


@contextmanager
def _up(data: Path, port: int) -> Iterator[None]:
    log = data / "up.log"
    with log.open("wb") as output:
        command = [*_STREAMER, "up", "--data", str(data / "var"), "--port", str(port)]
        process = subprocess.Popen(
            command, cwd=ROOT, env=_QUICK, stdout=output, stderr=output, preexec_fn=die_with_parent
        )
        try:
            _wait_ready(process, port, log)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _wait_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"streamer up did not become ready:\n{log.read_text(errors='replace')[-3000:]}")
