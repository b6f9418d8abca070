"""Resumable uploads of the whole product, with two web processes: what real clients and a killed server make of them.

UPLOAD_MIB=1024 for long uploads (with `--timeout 0`); each client then tells how often the line broke.
"""

import hashlib
import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page
from tusclient.client import TusClient

from tests.clients import browser, send
from tests.line import BreakingLine
from tests.streamer.ingest.tus.client import Tus
from tests.web import NO_TLS
from tests.whole import Product

MIB = 1 << 20
LONG_MIB = int(os.environ.get("UPLOAD_MIB", "0"))
CUT_MIB = max(16, LONG_MIB // 8)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Without workers: nothing here is a film."""
    settings = {"STREAMER_SERVER__PROCESSES": "2", "STREAMER_JOBS__WORKERS": "0"}
    with Product(tmp_path_factory.mktemp("product") / "var", **settings) as running:
        yield running


@pytest.fixture
def tus(product: Product) -> Iterator[Tus]:
    headers = {
        "Authorization": f"Bearer {product.key}",
        "Connection": "close",
    }  # each request may meet the other process
    with httpx2.Client(base_url=f"{product.url}/api/v1", headers=headers, timeout=30, verify=NO_TLS) as client:
        yield Tus(client)


@pytest.fixture(scope="module")
def page(chromium: str) -> Iterator[Page]:
    with browser(chromium) as opened:
        yield opened


@pytest.mark.parametrize("client", ["tus-js-client", "uppy"])
def test_a_browser_brings_a_film_over_a_line_that_breaks(
    product: Product, tus: Tus, page: Page, client: str, tmp_path: Path
) -> None:
    film = tmp_path / "a.mp4"
    sha256 = _written(film, LONG_MIB or 24)
    since = time.monotonic()
    with BreakingLine(product.port, cut_after=(MIB, CUT_MIB * MIB // 2)) as line:
        url = send(page, client, film, line.url, product.key)
    print(f"{client}: {film.stat().st_size >> 20} MiB, {line.breaks} breaks, {time.monotonic() - since:.1f} s")
    assert line.breaks >= 2
    upload = tus.upload(url.partition("/api/v1")[2])
    assert (upload["sha256"], upload["filename"]) == (sha256, "a.mp4")


def test_tuspy_brings_64_mib_over_a_line_that_breaks(product: Product, tus: Tus) -> None:
    film = os.urandom((LONG_MIB or 64) * MIB)
    since = time.monotonic()
    with BreakingLine(product.port, cut_after=(MIB, CUT_MIB * MIB)) as line:
        client = TusClient(f"{line.url}/api/v1/tus", headers={"Authorization": f"Bearer {product.key}"})
        sender = client.uploader(
            file_stream=io.BytesIO(film), retries=1000, retry_delay=0.05, metadata={"filename": "a.mp4"}
        )
        sender.upload()
    print(f"tuspy: {len(film) >> 20} MiB, {line.breaks} breaks, {time.monotonic() - since:.1f} s")
    assert line.breaks >= 3
    upload = tus.upload(str(sender.url).partition("/api/v1")[2])
    assert (upload["sha256"], upload["filename"]) == (hashlib.sha256(film).hexdigest(), "a.mp4")


def test_tuspy_brings_checked_pieces_over_the_same_line(product: Product, tus: Tus) -> None:
    film = os.urandom(24 * MIB)
    with BreakingLine(product.port, cut_after=(MIB, 6 * MIB)) as line:
        client = TusClient(f"{line.url}/api/v1/tus", headers={"Authorization": f"Bearer {product.key}"})
        sender = client.uploader(
            file_stream=io.BytesIO(film), chunk_size=3 * MIB, retries=100, retry_delay=0.05, upload_checksum=True
        )
        sender.upload()
    assert line.breaks >= 1
    upload = tus.upload(str(sender.url).partition("/api/v1")[2])
    assert upload["sha256"] == hashlib.sha256(film).hexdigest()


@pytest.mark.parametrize("checked", [False, True], ids=["plain", "checked"])
def test_an_upload_goes_on_after_kill_9_of_the_server(product: Product, tus: Tus, checked: bool) -> None:
    data = os.urandom(12 * MIB)
    path = tus.new(len(data))
    acknowledged = int(tus.patch(path, 0, data[: 5 * MIB]).headers["upload-offset"])
    checksum = {"Upload_Checksum": "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="} if checked else {}
    with tus.half_sent(path, acknowledged, data[5 * MIB : 9 * MIB], promised=7 * MIB, **checksum):
        product.wait(lambda: _on_disk(product, path) >= 7 * MIB)
        for pid in product.pids(" web"):
            os.kill(pid, signal.SIGKILL)
    on_disk = _on_disk(product, path)
    product.wait(product.is_ready)
    offset = tus.offset(path)
    assert acknowledged <= offset <= on_disk
    assert offset == (acknowledged if checked else on_disk)
    assert tus.patch(path, offset, data[offset:]).status_code == 204
    assert tus.upload(path)["sha256"] == hashlib.sha256(data).hexdigest()


def _written(path: Path, mebibytes: int) -> str:
    """Random bytes, and their hash."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(mebibytes):
            piece = os.urandom(MIB)
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _on_disk(product: Product, path: str) -> int:
    return (product.data / "uploads" / path.rpartition("/")[2]).stat().st_size
