"""A film that grows on command: the media of one that is ready, published again under a new film a few segments at a time.

Playlists are cut from the lender's own, so that a test decides how far each stage is, and no encoder competes with the browser.
"""

import re
from typing import Any

from streamer import db
from streamer.catalog import versions
from streamer.catalog.tables import Asset, Stage, Version
from streamer.catalog.versions import Facts, Growth
from streamer.jobs import jobs
from tests.admin.rows import put_film
from tests.house import House

_TYPE = "application/vnd.apple.mpegurl"


class GrowingFilm:
    """`start` is the lender's smallest rung."""

    def __init__(self, house: House, lender_id: str) -> None:
        self._house, self._store = house, house.services.store
        self.asset_id, self.version_id, self.playback_id = put_film(house, "Growing", "encoding")
        with db.reading(house.services) as s:
            lender = s.get_one(Version, s.get_one(Asset, lender_id).live_version_id)
        self._lender, self.path = lender, f"{self.asset_id}/{(lender.path or '').partition('/')[2]}"
        for stored in list(self._store.list(f"{lender.path}/")):
            if not stored.key.endswith(".m3u8"):
                self._store.copy(stored.key, stored.key.replace(lender.path or "", self.path))
        self._master = self._read("master.m3u8")

    def grow(self, stage: Stage, segments: int) -> None:
        """Publish that much of a stage; everything ends the stage."""
        small = self._start_folder()
        folders = [small, *self._groups(small)] if stage is Stage.START else self._folders()
        for folder in folders:
            self._put(f"{folder}/{stage}.m3u8", self._event(folder, segments))
        self._put(f"{stage}.m3u8", self._entry(stage, folders))
        whole = self._lender.duration_s or 0
        growth = Growth(stage, self.path, min(6.0 * segments, whole), whole, 480, 270, poster=True)
        with db.session(self._house.services) as s:
            versions.grow(s, self.version_id, growth)

    def finish(self) -> None:
        """All of it, as the end of the job does."""
        for stored in list(self._store.list(f"{self._lender.path}/")):
            if stored.key.endswith(".m3u8"):
                self._store.copy(stored.key, stored.key.replace(self._lender.path or "", self.path))
        lender = self._lender
        facts = Facts(self.path, lender.duration_s or 0, lender.width, lender.height, lender.poster, (), {})
        with db.session(self._house.services) as s:
            versions.publish(s, self.version_id, facts)

    def fail(self) -> None:
        """What the end of a job without a film does."""
        with db.session(self._house.services) as s:
            job = jobs.enqueue(s, "transcode", self.version_id, max_attempts=1)
            jobs.cancel(s, job.id)

    def _read(self, name: str) -> str:
        return self._store.read(f"{self._lender.path}/{name}").decode()

    def _put(self, name: str, text: str) -> None:
        self._store.put(f"{self.path}/{name}", text.encode(), type=_TYPE)

    def _folders(self) -> list[str]:
        return list(dict.fromkeys(re.findall(r"^(?:.*URI=\")?([av][^/\"]+)/vod\.m3u8", self._master, re.MULTILINE)))

    def _start_folder(self) -> str:
        videos = [folder for folder in self._folders() if folder.startswith("v")]
        return min(videos, key=lambda folder: int(re.findall(r"\d+", folder)[0]))

    def _groups(self, folder: str) -> list[str]:
        variant = next(line for line in self._variants() if f"\n{folder}/" in line)
        (group,) = re.findall(r'AUDIO="([^"]+)"', variant)
        media = [line for line in self._master.splitlines() if f'GROUP-ID="{group}"' in line]
        return [found for line in media for found in re.findall(r'URI="([^/]+)/', line)]

    def _variants(self) -> list[str]:
        return re.findall(r"#EXT-X-STREAM-INF:.*\n.*", self._master)

    def _entry(self, stage: Stage, folders: list[str]) -> str:
        """The entry without I-frame playlists and without what the stage does not have."""
        lines: list[str] = []
        for line in re.split(r"\n(?=#)", self._master.strip()):
            named = re.findall(r"([av][^/\"\n]+)/vod\.m3u8", line)
            if "I-FRAME" not in line and all(folder in folders for folder in named):
                lines.append(line.replace("/vod.m3u8", f"/{stage}.m3u8"))
        return "\n".join(lines) + "\n"

    def _event(self, folder: str, segments: int) -> str:
        head, *rest = re.split(r"(?=#EXTINF)", self._read(f"{folder}/vod.m3u8"))
        head = head.replace("#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-START:TIME-OFFSET=0")
        kept = [part.replace("#EXT-X-ENDLIST\n", "") for part in rest[:segments]]
        return head + "".join(kept) + ("#EXT-X-ENDLIST\n" if segments >= len(rest) else "")


def entries(page: Any) -> list[str]:
    """Names of the entry playlists that the page asks for, as they come."""
    asked: list[str] = []
    entry = re.compile(r"/p/[^/]+/[^/]+/[^/]+/([a-z]+)\.m3u8$")
    page.on("request", lambda request: asked.extend(entry.findall(request.url)))
    return asked
