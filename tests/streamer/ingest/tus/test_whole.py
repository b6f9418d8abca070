"""Resumable uploads of the whole product, with two web processes: what real clients and a killed server make of them."""

import hashlib
import io
import os
import signal
from collections.abc import Iterator

import httpx2
import pytest
from tusclient.client import TusClient

from tests.line import BreakingLine
from tests.streamer.ingest.tus.client import Tus
from tests.whole import Product

MIB = 1 << 20


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
    with httpx2.Client(base_url=f"{product.url}/api/v1", headers=headers, timeout=30) as client:
        yield Tus(client)


def test_tuspy_brings_64_mib_over_a_line_that_breaks(product: Product, tus: Tus) -> None:
    film = os.urandom(64 * MIB)
    with BreakingLine(product.port, cut_after=(MIB, 16 * MIB)) as line:
        client = TusClient(f"{line.url}/api/v1/tus", headers={"Authorization": f"Bearer {product.key}"})
        sender = client.uploader(
            file_stream=io.BytesIO(film), retries=100, retry_delay=0.05, metadata={"filename": "a.mp4"}
        )
        sender.upload()
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


def _on_disk(product: Product, path: str) -> int:
    return (product.data / "uploads" / path.rpartition("/")[2]).stat().st_size
