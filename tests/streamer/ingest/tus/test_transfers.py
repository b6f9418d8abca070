"""Whole uploads over tus, from the first byte to the film or to their end."""

import hashlib
import os
import threading
from typing import Any

import pytest
from sqlalchemy import func, select, update

from streamer import db
from streamer.catalog.tables import Asset
from streamer.config import Config
from streamer.ingest import leftovers, uploads
from streamer.ingest.tables import Upload
from streamer.ingest.tus import films
from streamer.jobs.tables import Job
from streamer.services import Services
from tests.streamer.ingest.tus.client import Tus, files, metadata
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for

FILM = os.urandom(3_000_000)
SHA256 = hashlib.sha256(FILM).hexdigest()
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def count(services: Services, table: Any) -> int:
    with db.reading(services) as s:
        return s.scalars(select(func.count()).select_from(table)).one()


def grow_old(site: Site, **changes: Any) -> None:
    with db.session(site.services) as s:
        old = db.database_now(-site.services.config.ingest.expire_s - 1)
        s.execute(update(Upload).values(updated_at=old, **changes))


class TestOnBothDatabases:
    @SQLITE
    def test_a_file_sent_in_pieces_becomes_the_film_that_the_raw_door_makes(self, site: Site, tus: Tus) -> None:
        said = metadata(filename="Füchse.mp4", filetype="video/mp4", title="Ein Film", policy="public")
        path = tus.new(len(FILM), Upload_Metadata=said)
        assert tus.offset(path) == 0
        assert tus.patch(path, 0, FILM[:1_000_000]).headers["upload-offset"] == "1000000"
        answer = tus.patch(path, 1_000_000, FILM[1_000_000:])
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, "3000000")
        upload = tus.upload(path)
        asset = site.as_("editor").get(f"/assets/{upload['asset_id']}").json()
        assert (upload["state"], upload["received"], upload["sha256"]) == ("received", len(FILM), SHA256)
        assert (asset["title"], asset["processing"]) == ("Ein Film", "queued")
        assert asset["source"] == {"name": "Füchse.mp4", "size": len(FILM), "sha256": SHA256}
        assert [one["policy"] for one in asset["playback_ids"]] == ["public"]
        assert site.services.store.read(f"sources/{asset['id']}/{upload['id']}") == FILM
        assert site.services.kv_sync.llen("rq:queue:streamer") == 1
        assert files(site) == []
        head = tus.head(path)
        assert head.headers["upload-metadata"] == said
        assert (head.headers["upload-length"], head.headers["upload-offset"]) == ("3000000", "3000000")
        assert head.headers["cache-control"] == "no-store" and "upload-expires" not in head.headers

    def test_parts_sent_side_by_side_become_one_film_once(self, site: Site, tus: Tus) -> None:
        cuts = [FILM[:1_200_000], FILM[1_200_000:1_200_001], FILM[1_200_001:]]
        paths = [tus.new(len(cut), Upload_Concat="partial") for cut in cuts]
        for path, cut in zip(paths, cuts, strict=True):
            assert tus.patch(path, 0, cut).status_code == 204
            assert tus.head(path).headers["upload-concat"] == "partial"
        assert count(site.services, Asset) == 0
        final = f"final;/api/v1{paths[0]} {site.base}/api/v1{paths[1]} /api/v1{paths[2]}"
        said = metadata(filename="film.mkv")
        first, again = (tus.create(None, Upload_Concat=final, Upload_Metadata=said) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.headers["location"] == again.headers["location"]
        whole = tus.path(first)
        assert tus.upload(whole)["sha256"] == SHA256
        assert tus.head(whole).headers["upload-offset"] == tus.head(whole).headers["upload-length"] == "3000000"
        assert tus.head(whole).headers["upload-concat"] == f"final;{' '.join(f'/api/v1{path}' for path in paths)}"
        assert (count(site.services, Asset), count(site.services, Job), files(site)) == (1, 1, [])
        assert tus.head(paths[0]).status_code == 404
        assert tus.patch(whole, 3_000_000, b"").json()["code"] == "tus_final"

    def test_what_is_not_finished_expires_and_what_is_all_there_never_does(self, site: Site, tus: Tus) -> None:
        done, half, part, whole = (
            tus.new(len(FILM)),
            tus.new(len(FILM)),
            tus.new(9, Upload_Concat="partial"),
            tus.new(9),
        )
        tus.patch(done, 0, FILM)
        tus.patch(half, 0, FILM[:5])
        tus.patch(part, 0, b"nine byte")
        site.services.uploads.append(whole.rpartition("/")[2], 0, [b"nine byte"])  # acknowledged, then the process died
        with db.session(site.services) as s:
            s.execute(update(Upload).where(Upload.id == whole.rpartition("/")[2]).values(received=9))
        grow_old(site)
        assert leftovers.sweep(site.services) == 2
        assert tus.offset(done) == len(FILM) and tus.upload(done)["asset_id"]
        for path in (half, part):
            assert (tus.head(path).status_code, tus.patch(path, 5, b"x").json()["code"]) == (410, "upload_gone")
        wait_for(lambda: tus.upload(whole)["sha256"] == hashlib.sha256(b"nine byte").hexdigest())
        assert films.settle(site.services) == (0, 0)
        assert (count(site.services, Asset), files(site)) == (2, [])

    @SQLITE
    def test_an_upload_that_is_finished_while_expiry_looks_at_it_is_not_touched(
        self, site: Site, tus: Tus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, real = tus.new(len(FILM)), uploads.give_up
        tus.patch(path, 0, FILM[:5])
        grow_old(site)

        def late(*args: Any) -> bool:
            assert tus.patch(path, 5, FILM[5:]).status_code == 204
            return real(*args)

        monkeypatch.setattr(uploads, "give_up", late)
        assert leftovers.sweep(site.services) == 1
        upload = tus.upload(path)
        assert (upload["state"], upload["sha256"]) == ("received", SHA256)
        assert site.services.store.read(f"sources/{upload['asset_id']}/{upload['id']}") == FILM

    def test_a_user_has_only_so_many_unfinished_uploads_and_bytes(self, site: Site, tus: Tus) -> None:
        answers: list[tuple[int, str]] = []

        def begin(length: int | None, **headers: str) -> None:
            answer = tus.create(length, **headers)
            answers.append((answer.status_code, "" if answer.status_code == 201 else answer.json()["code"]))

        threads = [threading.Thread(target=begin, args=(400_000,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [(201, ""), (201, ""), (429, "upload_quota"), (429, "upload_quota")]
        begin(None, Upload_Defer_Length="1")
        begin(10)
        begin(10)
        assert answers[4:] == [(429, "upload_quota"), (201, ""), (429, "too_many_unfinished")]
        assert Tus(site.as_("admin")).create(10).status_code == 201
        assert len(files(site)) == 4

    @pytest.fixture
    def config(self, config: Config, request: pytest.FixtureRequest) -> Config:
        if "so_many" not in request.node.name:
            return config
        limits = {"max_unfinished": 3, "max_unfinished_bytes": 1_000_000}
        return config.model_copy(update={"ingest": config.ingest.model_copy(update=limits)})
