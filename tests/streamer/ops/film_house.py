"""A server with one whole film, encoded once for all tests of a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from packager.pipeline import Package, encode
from storage.local import LocalStore
from streamer import db, ids
from streamer.accounts import users
from streamer.catalog import assets, versions
from streamer.catalog.tables import Asset, Version
from streamer.catalog.versions import Source
from streamer.ingest import transcode
from streamer.ingest.tables import Upload, UploadState
from streamer.jobs import runner, waiting
from streamer.ops import fsck, fsck_report
from streamer.ops.packages import sha256
from streamer.services import Services
from tests.packager.films import Film, Sound, make


@dataclass(frozen=True)
class Encoded:
    """A film that was encoded once for all tests: the upload and its package under `out/`."""

    source: Path
    store: LocalStore
    package: Package


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    folder = tmp_path_factory.mktemp("encoded")
    source = make(folder / "film.mp4", Film(seconds=7, sounds=(Sound(7),)))
    store = LocalStore(folder / "store")
    return Encoded(source, store, encode(source, store, "out"))


@dataclass(frozen=True)
class House:
    """A server with one whole film."""

    services: Services
    asset_id: str
    version_id: str
    path: str
    source: str
    package: Package

    def key(self, *, ending: str) -> str:
        return next(info.key for info in self.services.store.list(f"{self.path}/") if info.key.endswith(ending))

    def found(self, **options: bool) -> list[tuple[str, str]]:
        return [(d.kind, d.subject) for d in fsck.check(self.services, settled_s=-1, **options)]

    def repair(self) -> int:
        return fsck_report.run(self.services, repair=True, hashes=True, settled_s=-1, as_json=True)

    def work(self) -> int:
        """Do all open jobs; how many there were."""
        with db.reading(self.services) as s:
            due = waiting.due(s)
        for job in due:
            runner.perform(self.services, job.id, "w1")
        return len(due)

    def change(self, change: Callable[[Asset, Version], None]) -> None:
        with db.session(self.services) as s:
            change(s.get_one(Asset, self.asset_id), s.get_one(Version, self.version_id))


@pytest.fixture
def house(services: Services, encoded: Encoded) -> House:
    asset_id, upload_id = ids.new("ast"), ids.new("upl")
    path, key = f"{asset_id}/{encoded.package.version}", f"sources/{asset_id}/{upload_id}"
    store = services.store
    size = store.put(key, encoded.source, type="video/mp4").size
    for info in encoded.store.list("out/"):
        store.put(path + info.key.removeprefix("out"), encoded.store.read(info.key), type=info.type)
    with db.session(services) as s:
        owner = users.create(
            s, services.config.accounts, email="a@b.org", name="A", role="editor", password="a good one"
        )
        assets.create(s, owner.id, "Film", asset_id=asset_id)
        version = versions.create(s, asset_id, Source(key, "film.mp4", size, sha256(store, key)))
        versions.publish(s, version.id, transcode.facts(replace(encoded.package, prefix=path)))
        received = {"state": UploadState.RECEIVED, "received": size, "created_at": db.now(), "updated_at": db.now()}
        s.add(
            Upload(id=upload_id, user_id=owner.id, asset_id=asset_id, filename="film.mp4", source_key=key, **received)
        )
    return House(services, asset_id, version.id, path, key, encoded.package)
