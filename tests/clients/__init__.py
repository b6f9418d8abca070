"""Other people's upload clients in a real browser: a page with one of them, and what it says of a file that it was given."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, sync_playwright

from tests.servers import ROOT, program

HERE = Path(__file__).parent
INSTALLED = ROOT / "build" / "clients"
RETRIES = 1000


@contextmanager
def browser(chromium: str) -> Iterator[Page]:
    """A page in a browser of its own. Close it before async tests run: Playwright's sync API keeps an event loop open."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running.new_page()
        running.close()


def send(page: Page, client: str, film: Path, site: str, key: str) -> str:
    """Have the `client` (a page of this folder, without .html) upload a file to the server at `site`; the upload's URL."""
    modules = installed()
    page.route("**/clients/**", lambda route: _answer(route, modules))
    page.goto(f"{site}/clients/{client}.html", wait_until="networkidle")
    page.unroute_all()  # Chromium copies the bodies of requests that somebody intercepts, and dies of a gigabyte
    page.set_input_files("input", film)
    headers = {"Authorization": f"Bearer {key}"}
    answer: Any = page.evaluate(f"send({json.dumps(headers)}, {RETRIES})")
    return str(answer)


def installed() -> Path:
    """The clients' packages, installed once for each list of versions."""
    wanted, there = (HERE / "package.json").read_text(), INSTALLED / "package.json"
    if not (INSTALLED / "node_modules").is_dir() or there.read_text() != wanted:
        shutil.rmtree(INSTALLED, ignore_errors=True)
        INSTALLED.mkdir(parents=True)
        there.write_text(wanted)
        quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
        subprocess.run([program("npm", "nodejs npm"), "install", *quiet], cwd=INSTALLED, check=True)
    return INSTALLED / "node_modules"


def _answer(route: Route, modules: Path) -> None:
    """The pages and the packages come from here, everything else from the server."""
    name = route.request.url.partition("/clients/")[2]
    route.fulfill(path=HERE / name if name.endswith(".html") else modules / name)
