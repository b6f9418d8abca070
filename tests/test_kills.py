"""kill -9 of each part in the middle of an encode: the film still ends ready, once, and finished chunks are not encoded again."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.whole import Product, make_film

PARTS = {"worker": " worker", "child": "packager.child", "web": " web", "valkey": "valkey-server"}


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chunk of one segment and three of up to half a minute, cheap to encode."""
    return make_film(tmp_path_factory.mktemp("film") / "long.mp4", seconds=75, size="480x270", fps=10)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """One that loses each of its parts in turn."""
    with Product(tmp_path_factory.mktemp("product") / "var") as running:
        yield running


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", PARTS)
def test_a_film_survives_kill_9_of_a_part(part: str, product: Product, long_film: Path) -> None:
    asset_id = product.upload(long_film).json["asset"]["id"]
    media = product.data / "media" / asset_id
    product.wait(lambda: _indexes(media, "0000"))
    done = _finished(media)
    victims = product.wait(lambda: product.pids(PARTS[part]))
    assert not list(media.glob("*/master.m3u8")), "it was all encoded before the kill"
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    asset = product.settled(asset_id, 150)
    assert asset["processing"] == "ready", asset["error"]
    assert {path: _digest(path) for path in done} == done, "a finished chunk was made again"
    _assert_published_once(product, asset, media)
    _assert_whole(product, asset)


def _indexes(media: Path, chunk: str) -> bool:
    """Whether every rung has finished the chunk."""
    folders = list(media.glob("*/v*"))
    return len(folders) >= 2 and all((folder / f"{chunk}.json").exists() for folder in folders)


def _finished(media: Path) -> dict[Path, str]:
    """Every object of the first chunk, with its hash."""
    return {path: _digest(path) for path in [*media.glob("*/v*/0000.json"), *media.glob("*/v*/0000-*/*.m4s")]}


def _digest(path: Path) -> str:
    return f"{path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _assert_published_once(product: Product, asset: dict[str, object], media: Path) -> None:
    assert len(list(media.iterdir())) == 1, "one version"
    plan = json.loads(next(media.glob("*/plan.json")).read_text())
    for rendition in media.glob("*/v*"):
        indexes = sorted(path.stem for path in rendition.glob("????.json"))
        assert indexes == [f"{number:04d}" for number in range(len(plan["video"]["chunks"]))]
        attempts = [folder.name for folder in rendition.glob("0000-*") if list(folder.iterdir())]
        assert len(attempts) == 1, f"the finished chunk has one attempt, not {attempts}"
    jobs = product.api("GET", f"/jobs?subject_id={asset['version_id']}").json["data"]
    assert [job["state"] for job in jobs if job["kind"] == "transcode"] == ["succeeded"]


def _assert_whole(product: Product, asset: dict[str, object]) -> None:
    """Every object that the playlists name answers."""
    master = product.play(asset)["manifest_url"]
    base = master.rpartition("/")[0]
    for line in product.get(master).body.decode().splitlines():
        if line and not line.startswith("#"):
            folder = line.rpartition("/")[0]
            names = [
                uri
                for uri in product.get(f"{base}/{line}").body.decode().splitlines()
                if uri and not uri.startswith("#")
            ]
            assert len(names) >= 12
            assert all(product.request("HEAD", f"{base}/{folder}/{uri}").status == 200 for uri in names)
