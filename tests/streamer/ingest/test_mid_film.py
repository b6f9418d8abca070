"""Viewers in the middle of a film while it gets another file, goes back, is encoded again and loses versions: they notice nothing."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import m3u8
import pytest

from packager.check import check
from streamer import db
from streamer.catalog.tables import Asset
from streamer.jobs import jobs
from streamer.jobs.runner import perform
from streamer.jobs.tables import Job
from streamer.ops import fsck
from tests.packager.films import Film, Sound, make
from tests.servers import die_with_parent
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for
from tests.web import NO_TLS

SECONDS = 7


class Fetcher(threading.Thread):
    """A player's requests again and again: the entry, every playlist of it, every segment; what was not answered with 200."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.rounds, self.faults = url, 0, list[str]()
        self._stop_asked = threading.Event()

    def run(self) -> None:
        with httpx2.Client(timeout=20, verify=NO_TLS) as client:
            while not self._stop_asked.is_set():
                entry = m3u8.loads(self._get(client, self.url))
                for part in (*entry.playlists, *entry.media):
                    self._play(client, urljoin(self.url, part.uri))
                self.rounds += 1

    def _play(self, client: httpx2.Client, url: str) -> None:
        media = m3u8.loads(self._get(client, url))
        for part in (*media.segment_map, *media.segments):
            self._get(client, urljoin(url, part.uri))
            time.sleep(0.005)

    def _get(self, client: httpx2.Client, url: str) -> str:
        answer = client.get(url)
        if answer.status_code != 200:
            self.faults.append(f"{answer.status_code} {url}")
        return answer.text if url.endswith(".m3u8") else ""

    def end(self) -> None:
        self._stop_asked.set()
        self.join(20)
        assert (self.faults, self.rounds > 0) == ([], True)


@contextmanager
def watching(site: Site, ffmpeg: str, asset: Any) -> Iterator[str]:
    """A viewer who begins now and has seen all of the film when the block ends, without a word from the player; the address."""
    answer = site.as_("editor").post("/playback-sessions", json={"playback_id": asset["playback_ids"][0]["id"]})
    assert answer.status_code == 201, answer.text
    url: str = answer.json()["manifest_url"]
    command = [
        ffmpeg,
        "-v",
        "warning",
        "-nostdin",
        "-readrate",
        "1",
        "-i",
        url,
        "-map",
        "0:v:0",
        "-map",
        "0:a:0",
        "-f",
        "null",
        "-",
    ]
    player = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    fetcher = Fetcher(url)
    fetcher.start()
    try:
        yield url
        _, said = player.communicate(timeout=60)
        assert (player.returncode, said) == (0, "")
        fetcher.end()
    finally:
        player.kill()
        player.wait()


def made(site: Site, answer: httpx2.Response) -> Any:
    """Do the job that a request made; the version it made."""
    assert answer.status_code == 201, answer.text
    told = answer.json()
    job_id = told["job"]["id"] if "job" in told else told["job_id"]
    perform(site.services, job_id, "w1")
    job = site.as_("editor").get(f"/jobs/{job_id}").json()
    assert job["state"] == "succeeded", job["error"]
    with db.reading(site.services) as s:
        asset_id = told["asset"]["id"] if "asset" in told else told["asset_id"]
        return site.as_("editor").get(f"/assets/{asset_id}/versions/{jobs.get(s, job_id).subject_id}").json()


def pictures(site: Site, url: str) -> set[str]:
    """Names of the segments, which tell who encoded them."""
    package = "/".join(url.split("/")[-3:-1])
    found = {info.key.removeprefix(package) for info in site.services.store.list(f"{package}/v")}
    return {name for name in found if name.endswith(".m4s")}


def entry(url: str) -> str:
    """Which version an address is of."""
    return url.split("/")[-2]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nobody_in_mid_film_notices_that_versions_change(site: Site, ffmpeg: str, tmp_path: Path) -> None:
    editor = site.as_("editor")
    cut = Film(seconds=SECONDS, size=(160, 96), sounds=(Sound(SECONDS),))
    files = [
        make(tmp_path / f"{codec}.mp4", Film(**{**vars(cut), "gop": gop})).read_bytes()
        for codec, gop in (("a", 30), ("b", 60))
    ]
    first = made(site, editor.post("/uploads?filename=a.mp4", content=files[0]))
    at = f"/assets/{first['asset_id']}"
    asset = editor.get(at).json()

    with watching(site, ffmpeg, asset) as one:
        second = made(site, editor.post(f"{at}/versions?filename=b.mp4", content=files[1]))
        assert second["live"]
        with watching(site, ffmpeg, asset) as two:
            assert editor.post(f"{at}/versions/{first['id']}/publish").json()["live"]
            third = made(site, editor.post(f"{at}/versions", json={"from": first["id"], "loudness_lufs": 0}))
            assert third["live"]
            assert editor.delete(f"{at}/versions/{second['id']}").status_code == 202
            with watching(site, ffmpeg, asset) as three:
                addresses = {entry(url) for url in (one, two, three)}
    assert len(addresses) == 3

    with db.session(site.services) as s:
        (removal,) = [job for job in s.query(Job).where(Job.kind == "delete_version")]
        removal.run_after = db.now()
    perform(site.services, removal.id, "w1")
    wait_for(lambda: httpx2.get(two, verify=NO_TLS).status_code == 404, 10)
    for url in (one, three):
        assert [finding for finding in check(url).findings if finding.severity == "must"] == []
    assert list(fsck.check(site.services, settled_s=-1)) == []
    assert pictures(site, one) == pictures(site, three), "only the sound was encoded again"
    with db.reading(site.services) as s:
        assert s.get_one(Asset, first["asset_id"]).live_version_id == third["id"]
