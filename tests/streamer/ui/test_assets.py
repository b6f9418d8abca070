import json
import re
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from streamer.ui import asset, assets

UI = Path(assets.__file__).parent


def test_every_built_file_is_there_under_a_name_that_tells_its_content() -> None:
    for plain, hashed in assets.manifest().items():
        stem, _, ending = plain.rpartition(".")
        assert re.fullmatch(rf"{re.escape(stem)}-[0-9a-f]{{10}}\.{ending}", hashed)
        assert (assets.FOLDER / hashed).is_file()
    assert asset("player.js") == f"/static/{assets.manifest()['player.js']}"


def test_nothing_else_is_shipped_but_the_licences() -> None:
    shipped = {path.name for path in assets.FOLDER.iterdir()}
    assert shipped == {*assets.manifest().values(), "manifest.json", "THIRD-PARTY.txt"}


def test_the_licences_name_every_library_and_attribute_preline() -> None:
    text = (assets.FOLDER / "THIRD-PARTY.txt").read_text()
    package = json.loads((UI / "package.json").read_text())
    for name, version in {**package["dependencies"], "tailwindcss": package["devDependencies"]["tailwindcss"]}.items():
        assert f"{name} {version}" in text
    assert "https://github.com/htmlstreamofficial/preline" in text and "Preline UI Fair Use License" in text


def test_the_lock_names_no_registry_and_versions_are_exact() -> None:
    assert "registry" not in (UI / "package-lock.json").read_text()
    package = json.loads((UI / "package.json").read_text())
    for version in {**package["dependencies"], **package["devDependencies"]}.values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_no_template_has_inline_script_or_style() -> None:
    root = UI.parent.parent
    pages = [
        *UI.glob("templates/**/*.html"),
        *root.glob("streamer/site/templates/**/*.html"),
        *root.glob("admin/templates/**/*.html"),
    ]
    assert len(pages) > 10
    for page in pages:
        text = page.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", text), page
        assert not re.search(r"\|\s*safe", text.replace("shapes[name]|safe", "")), (
            page
        )  # our own icons alone are trusted markup


async def fetch(path: str, **headers: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(Starlette(routes=[Mount("/static", assets.BuiltFiles())]))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, headers=headers)


async def test_hashed_files_are_kept_for_a_year_and_sent_compressed_to_who_takes_it() -> None:
    small = await fetch(asset("app.js"), **{"accept-encoding": "br, gzip"})
    plain = await fetch(asset("app.js"), **{"accept-encoding": "identity"})
    assert small.headers["content-encoding"] == "gzip" and small.text == plain.text
    assert int(small.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    for answer in (small, plain):
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("offer", ["gzip", "GZIP;q=1.0", "br;q=0.9, gzip; q=0.5", "gzip;q=0.001"])
async def test_gzip_is_sent_to_whoever_offers_it(offer: str) -> None:
    assert (await fetch(asset("app.js"), **{"accept-encoding": offer})).headers.get("content-encoding") == "gzip"


@pytest.mark.parametrize("offer", ["", "br", "gzip;q=0", "gzip; q=0.000", "x-gzippy"])
async def test_gzip_is_not_sent_to_others(offer: str) -> None:
    assert "content-encoding" not in (await fetch(asset("app.js"), **{"accept-encoding": offer})).headers


async def test_the_licences_may_change_and_nothing_outside_the_folder_is_served() -> None:
    assert (await fetch("/static/THIRD-PARTY.txt")).headers["cache-control"] == "public, max-age=300"
    assert (await fetch("/static/%2e%2e/assets.py")).status_code == 404
