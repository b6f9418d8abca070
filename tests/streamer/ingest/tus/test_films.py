import hashlib
import os
import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select

from storage import StorageDown
from storage.local import LocalStore
from streamer import db
from streamer.catalog.tables import Asset
from streamer.ingest.tus import films
from streamer.jobs.tables import Job
from streamer.services import Services
from tests.streamer.ingest.tus.client import Tus
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for

FILM = os.urandom(3_000_000)
SHA256 = hashlib.sha256(FILM).hexdigest()
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@SQLITE
class TestTheEnd:
    def test_an_ended_upload_is_gone_with_its_bytes(self, site: Site, tus: Tus) -> None:
        path = tus.new(100)
        tus.patch(path, 0, b"x" * 50)
        assert tus.ask("DELETE", path).status_code == 204
        assert files(site) == []
        again = [tus.head(path), tus.patch(path, 50, b"x"), tus.ask("DELETE", path)]
        assert [answer.status_code for answer in again] == [410] * 3

    def test_saying_the_end_again_makes_no_second_film(self, site: Site, tus: Tus) -> None:
        path = tus.new(len(FILM))
        tus.patch(path, 0, FILM[:1000])
        assert [tus.patch(path, 1000, FILM[1000:]).status_code for _ in range(3)] == [204, 409, 409]
        assert tus.patch(path, len(FILM), b"").headers["upload-offset"] == str(len(FILM))
        assert tus.patch(path, len(FILM), b"x").status_code == 413
        assert tus.offset(path) == len(FILM)
        assert tus.ask("DELETE", path).json()["code"] == "upload_finished"
        assert (count(site.services, Asset), count(site.services, Job)) == (1, 1)

    def test_storage_that_was_away_at_the_end_gets_the_film_when_it_is_back(
        self, site: Site, tus: Tus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tus.new(len(FILM))
        with monkeypatch.context() as patch:
            patch.setattr("storage.local.LocalStore.adopt", _down)
            assert [tus.patch(path, 0, FILM).status_code, tus.head(path).status_code] == [503, 200]
        assert tus.offset(path) == len(FILM)
        assert tus.upload(path)["sha256"] == SHA256
        assert count(site.services, Asset) == 1

    def test_storage_that_was_away_gets_the_film_although_nobody_asks_again(
        self, site: Site, tus: Tus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries: list[float] = []
        real = LocalStore.adopt

        def down_at_first(*args: Any, **options: Any) -> Any:
            tries.append(time.monotonic())
            if len(tries) <= 3:
                raise StorageDown("no answer")
            return real(*args, **options)

        monkeypatch.setattr("storage.local.LocalStore.adopt", down_at_first)
        path = tus.new(len(FILM))
        assert tus.patch(path, 0, FILM).status_code == 503
        wait_for(lambda: tus.upload(path)["sha256"] == SHA256)
        pauses = [later - sooner for sooner, later in pairwise(tries[1:])]
        least = [site.services.config.jobs.sweep_s * 2**tried for tried in range(1, len(pauses) + 1)]
        assert all(pause >= wanted for pause, wanted in zip(pauses, least, strict=True)), "it tries less and less often"
        assert (len(tries), count(site.services, Asset), count(site.services, Job)) == (4, 1, 1)
        wait_for(lambda: files(site) == [])

    def test_the_end_can_be_said_again_after_storage_was_away(
        self, tus: Tus, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tus.new(len(FILM))
        with monkeypatch.context() as patch:
            patch.setattr("storage.local.LocalStore.adopt", _down)
            assert tus.patch(path, 0, FILM).status_code == 503
        assert tus.patch(path, len(FILM), b"").status_code == 204
        assert tus.upload(path)["sha256"] == SHA256
        assert count(site.services, Asset) == 1

    def test_many_that_ask_at_the_end_get_one_film(self, site: Site, tus: Tus) -> None:
        path = tus.new(len(FILM))
        site.services.uploads.append(path.rpartition("/")[2], 0, [FILM])  # the process died before it made the film
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(tus.head(path).status_code)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {200, 423} and len(statuses) == 8
        assert (tus.offset(path), count(site.services, Asset), count(site.services, Job)) == (len(FILM), 1, 1)

    def test_a_part_whose_process_died_before_it_told_the_row_can_be_joined(self, site: Site, tus: Tus) -> None:
        part = tus.new(len(FILM), Upload_Concat="partial")
        site.services.uploads.append(part.rpartition("/")[2], 0, [FILM])
        assert tus.offset(part) == len(FILM)
        whole = tus.path(tus.create(None, Upload_Concat=f"final;/api/v1{part}"))
        assert tus.upload(whole)["sha256"] == SHA256

    def test_an_upload_whose_film_is_being_made_says_that_all_of_it_is_there(
        self, site: Site, tus: Tus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tus.new(len(FILM))
        offsets: list[int] = []
        real = films._put

        def asked(*args: Any) -> Any:
            offsets.append(tus.offset(path))
            return real(*args)

        monkeypatch.setattr(films, "_put", asked)
        assert tus.patch(path, 0, FILM).status_code == 204
        assert (offsets, count(site.services, Asset)) == ([len(FILM)], 1)

    def test_an_upload_that_is_ended_in_mid_flight_becomes_no_film(
        self, site: Site, tus: Tus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tus.new(len(FILM))
        real = films._put

        def ended(*args: Any) -> Any:
            done = real(*args)
            assert tus.ask("DELETE", path).status_code == 204
            return done

        monkeypatch.setattr(films, "_put", ended)
        assert tus.patch(path, 0, FILM).status_code == 410
        assert count(site.services, Asset) == 0
        assert (list(site.services.store.list("sources/")), files(site)) == ([], [])


def _down(*args: Any, **options: Any) -> None:
    raise StorageDown("no answer")


def count(services: Services, table: Any) -> int:
    with db.reading(services) as s:
        return s.scalars(select(func.count()).select_from(table)).one()


def files(site: Site) -> list[str]:
    return sorted(path.name for path in site.services.config.uploads_dir.iterdir())
