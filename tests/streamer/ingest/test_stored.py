"""Uploads in object storage through the web: any host goes on with any upload, and parts go to S3 by signed URL."""

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, update

from storage import ObjectMissing
from streamer import db
from streamer.catalog.tables import Asset
from streamer.config import Config
from streamer.ingest import leftovers, litter
from streamer.ingest.tables import Upload
from streamer.services import Services
from tests.servers import S3Server
from tests.streamer.ingest.hosts import Host, host, in_s3
from tests.streamer.ingest.tus.client import Tus
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for
from tests.web import NO_TLS

MIB = 1 << 20
FILM = os.urandom(20_000_000)
SHA256 = hashlib.sha256(FILM).hexdigest()
SENT = 9_500_000
pytestmark = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)


@pytest.fixture
def config(config: Config, seaweedfs: S3Server) -> Config:
    return in_s3(config, seaweedfs)


@pytest.fixture
def tus(site: Site) -> Tus:
    return Tus(site.as_("editor"))


@pytest.fixture
def other(config: Config, site: Site) -> Iterator[Host]:
    with host(config, "elsewhere") as running:
        yield running


@pytest.fixture
def elsewhere(other: Host, tus: Tus) -> Iterator[Tus]:
    """The same client at the other host."""
    with httpx2.Client(
        base_url=f"{other.base}/api/v1", headers=tus.client.headers, timeout=30, verify=NO_TLS
    ) as client:
        yield Tus(client)


def count(services: Services, table: Any) -> int:
    with db.reading(services) as s:
        return s.scalars(select(func.count()).select_from(table)).one()


def keys(site: Site) -> list[str]:
    return [info.key for info in site.services.store.list("")]


def grow_old(site: Site) -> None:
    with db.session(site.services) as s:
        s.execute(update(Upload).values(updated_at=db.database_now(-site.services.config.ingest.expire_s - 1)))


class TestAnyHost:
    def test_goes_on_where_another_one_stopped(self, site: Site, tus: Tus, elsewhere: Tus) -> None:
        path = tus.new(len(FILM))
        ends = [1_000_000, 11_000_000, 11_000_001, len(FILM)]
        for n, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            sender, asker = (tus, elsewhere)[:: 1 if n % 2 else -1]
            assert sender.patch(path, start, FILM[start:end]).status_code == 204
            assert asker.offset(path) == end
        upload = tus.upload(path)
        assert (upload["sha256"], upload["received"]) == (SHA256, len(FILM))
        assert keys(site) == [f"sources/{upload['asset_id']}/{upload['id']}"]
        assert hashlib.sha256(site.services.store.read(keys(site)[0])).hexdigest() == SHA256
        assert not site.services.config.uploads_dir.exists()

    def test_takes_over_within_a_second_from_a_connection_that_went_dead(
        self, site: Site, tus: Tus, elsewhere: Tus
    ) -> None:
        path = elsewhere.new(len(FILM))
        with elsewhere.half_sent(path, 0, FILM[:SENT], promised=len(FILM)) as vanished:
            wait_for(lambda: _counted(site, path) >= 8 * MIB)
            time.sleep(0.3)
            since = time.monotonic()
            offset = tus.offset(path)
            assert (offset, time.monotonic() - since < 1) == (SENT, True)
            assert tus.patch(path, offset, FILM[offset:]).status_code == 204
            assert b" 423 " in vanished.recv(1000)
        assert tus.upload(path)["sha256"] == SHA256

    def test_takes_over_from_a_host_that_was_lost_with_all_that_was_acknowledged(
        self, site: Site, tus: Tus, other: Host, elsewhere: Tus
    ) -> None:
        path = tus.new(len(FILM))
        assert elsewhere.patch(path, 0, FILM[:3]).headers["upload-offset"] == "3"
        with elsewhere.half_sent(path, 3, FILM[3:SENT], promised=len(FILM) - 3):
            wait_for(lambda: _counted(site, path) >= 8 * MIB)
            other.kill()
        since, offset = time.monotonic(), tus.offset(path)
        assert time.monotonic() - since < 3, "it has not to come again, nor to wait for a lease"
        assert offset == 8 * MIB
        assert tus.patch(path, offset, FILM[offset:]).status_code == 204
        assert tus.upload(path)["sha256"] == SHA256
        assert len(keys(site)) == 1

    def test_of_two_that_race_on_two_hosts_exactly_one_wins(self, tus: Tus, elsewhere: Tus) -> None:
        pairs, size = int(os.environ.get("RACING_PAIRS", "25")), 2000
        path, expected = tus.new(pairs * size), hashlib.sha256()
        statuses: dict[bytes, int] = {}
        start = threading.Barrier(2)

        def race(racer: Tus, offset: int, data: bytes) -> None:
            start.wait()
            statuses[data] = racer.patch(path, offset, data).status_code

        for n in range(pairs):
            statuses.clear()
            rivals = [(racer, n * size, os.urandom(size)) for racer in (tus, elsewhere)]
            threads = [threading.Thread(target=race, args=rival) for rival in rivals]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(statuses.values()) in ([204, 409], [204, 423]), n
            expected.update(next(data for data, status in statuses.items() if status == 204))
        assert tus.upload(path)["sha256"] == expected.hexdigest()


class TestOneHost:
    def test_takes_files_in_one_post_and_films_of_parts(self, site: Site, tus: Tus) -> None:
        answer = tus.client.post("/uploads?filename=a.mp4", content=FILM)
        assert (answer.status_code, answer.json()["upload"]["sha256"]) == (201, SHA256)
        cuts = [FILM[:7_000_000], FILM[7_000_000:]]
        parts = [tus.new(len(cut), Upload_Concat="partial") for cut in cuts]
        for path, cut in zip(parts, cuts, strict=True):
            assert tus.patch(path, 0, cut).status_code == 204
        final = f"final;{' '.join(f'/api/v1{path}' for path in parts)}"
        whole = tus.path(tus.create(None, Upload_Concat=final))
        assert tus.upload(whole)["sha256"] == SHA256
        assert (len(keys(site)), {key.partition("/")[0] for key in keys(site)}) == (2, {"sources"})

    def test_warns_of_what_is_no_film_while_the_rest_still_arrives(self, tus: Tus) -> None:
        path = tus.new(len(FILM))
        assert tus.patch(path, 0, b"%PDF-1.7\n" + FILM[:3_000_000]).status_code == 204
        assert wait_for(lambda: tus.upload(path)["warning"])["code"] == "not_a_film"
        assert tus.upload(path)["state"] == "receiving"
        assert list(Path(tempfile.gettempdir()).glob("streamer-glance-*")) == []

    def test_removes_what_expired_or_was_left_behind_and_never_what_was_finished(
        self, site: Site, tus: Tus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        services = site.services
        done, half, alive = (tus.new(size) for size in (len(FILM), len(FILM), 20 * MIB))
        tus.patch(done, 0, FILM)
        tus.patch(half, 0, FILM[:SENT])
        grow_old(site)
        tus.patch(alive, 0, FILM[:SENT])
        services.store.put("incoming/upl_00000000000000000000/5-1-5", b"lost", type="")
        services.store.in_parts().begin("sources/ast_00000000000000000000/upl_00000000000000000000")  # type: ignore[attr-defined]
        assert leftovers.sweep(services) == 1
        assert tus.head(half).status_code == 410
        assert litter.collect(services) == 0, "too young"
        monkeypatch.setattr(litter, "_border", lambda services: time.time() + 60)
        assert (litter.collect(services), litter.collect(services)) == (2, 0)
        assert tus.patch(alive, SENT, bytes(20 * MIB - SENT)).status_code == 204
        assert [tus.upload(path)["state"] for path in (done, alive)] == ["received"] * 2
        assert sorted(info.size for info in services.store.list("")) == [len(FILM), 20 * MIB]
        assert [litter.sweep(services), services.kv_sync.ttl("ingest:litter") > 3000] == [0, True]


class TestPartsBySignedUrl:
    def test_become_the_film_that_other_doors_make(self, site: Site) -> None:
        api = site.as_("editor")
        begun = begin(api, title="Ein Film", policy="public")
        assert (begun["part_size"], begun["part_count"], begun["upload"]["state"]) == (8 * MIB, 3, "receiving")
        for number in (3, 1):
            assert send(api, begun, number) == 200
        early = complete(api, begun)
        assert (early.status_code, early.json()["code"]) == (409, "parts_missing")
        assert early.json()["errors"] == [{"pointer": "/parts/2", "detail": "has not come"}]
        here = api.get(f"/uploads/multipart/{begun['upload']['id']}/parts").json()["data"]
        assert [(part["number"], part["size"]) for part in here] == [(1, 8 * MIB), (3, len(FILM) - 16 * MIB)]
        assert {key.partition("/")[0] for key in keys(site)} <= {"incoming"}, "nothing is where films are"
        assert send(api, begun, 2) == 200
        answers = [complete(api, begun) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        upload = answers[0].json()["upload"]
        asset = api.get(f"/assets/{upload['asset_id']}").json()
        assert (upload["sha256"], asset["title"], asset["processing"]) == (SHA256, "Ein Film", "queued")
        assert keys(site) == [f"sources/{asset['id']}/{upload['id']}"]
        assert count(site.services, Asset) == 1
        late = api.post(f"/uploads/multipart/{upload['id']}/parts", json={"numbers": [1]})
        assert (late.status_code, late.json()["code"]) == (409, "upload_whole")

    def test_may_be_for_a_film_or_ask_about_duplicates(self, site: Site) -> None:
        api = site.as_("editor")
        film = sent(api, begin(api, title="The first"))["asset_id"]
        refused = {"filename": "a.mp4", "size": 1, "asset_id": film}
        with db.session(site.services) as s:
            s.get_one(Asset, film).owner_id = site.user("admin").id
        keyed = site.as_("editor", scopes=("uploads:create", "assets:read"))
        assert keyed.post("/uploads/multipart", json=refused).status_code == 403
        refused["asset_id"] = "ast_" + "0" * 20
        assert api.post("/uploads/multipart", json=refused).status_code == 404
        version = sent(api, begin(api, asset_id=film, on_duplicate="offer"))
        assert (version["state"], version["asset_id"], version["replaces"]) == ("received", film, film)
        assert len(api.get(f"/assets/{film}/versions").json()["data"]) == 2
        asked = sent(api, begin(api, on_duplicate="offer"))
        assert (asked["state"], asked["duplicate_of"]) == ("held", {"asset_id": film, "title": "The first"})
        assert count(site.services, Asset) == 1

    def test_are_asked_about_before_and_after(self, site: Site, tus: Tus) -> None:
        api = site.as_("editor")
        begun = begin(api)
        path, other = f"/uploads/multipart/{begun['upload']['id']}", site.as_("admin")
        wanted = [
            (api.post("/uploads/multipart", json={"filename": "a.mp4"}), 400, "invalid"),
            (api.post("/uploads/multipart", json={"filename": "a.mp4", "size": 0}), 400, "empty_file"),
            (api.post("/uploads/multipart", json={"filename": "a.mp4", "size": 1 << 62}), 413, "file_too_large"),
            (api.post("/uploads/multipart", json={"filename": "a.mp4", "size": 1 << 36}), 429, "upload_quota"),
            (site.as_("viewer").post("/uploads/multipart", json={"filename": "a", "size": 1}), 403, "forbidden"),
            (api.post(f"{path}/parts", json={"numbers": []}), 400, "part_numbers"),
            (api.post(f"{path}/parts", json={"numbers": [4]}), 400, "part_numbers"),
            (api.post(f"{path}/parts", json={"numbers": [0]}), 400, "part_numbers"),
            (api.post(f"{path}/parts", json={"numbers": [1] * 101}), 400, "part_numbers"),
            (other.post(f"{path}/parts", json={"numbers": [1]}), 404, "not_found"),
            (other.get(f"{path}/parts"), 404, "not_found"),
            (other.post(f"{path}/complete"), 404, "not_found"),
            (other.delete(path), 404, "not_found"),
            (tus.head(f"/tus/{begun['upload']['id']}"), 404, ""),
            (tus.patch(f"/tus/{begun['upload']['id']}", 0, b"x"), 404, "not_found"),
            (api.post(f"/uploads/multipart/{tus.new(5)[5:]}/complete"), 404, "not_found"),
        ]
        for number, (answer, status, code) in enumerate(wanted):
            assert answer.status_code == status, number
            assert not code or answer.json()["code"] == code, number

    def test_that_are_given_up_or_expire_leave_nothing(self, site: Site) -> None:
        api = site.as_("editor")
        ended, expired = begin(api), begin(api)
        for begun in (ended, expired):
            send(api, begun, 1)
        assert api.delete(f"/uploads/multipart/{ended['upload']['id']}").status_code == 204
        grow_old(site)
        assert leftovers.sweep(site.services) == 1
        for begun in (ended, expired):
            assert [complete(api, begun).status_code, complete(api, begun).json()["code"]] == [410, "upload_gone"]
        assert list(site.services.store.in_parts().unfinished("")) == keys(site) == []  # type: ignore[attr-defined]

    def test_of_a_host_that_died_while_it_made_the_film_become_one_by_themselves(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api = site.as_("editor")
        begun = begin(api)
        for number in (1, 2, 3):
            send(api, begun, number)
        real = type(site.services.store).copy

        def dies(*args: Any) -> Any:
            monkeypatch.undo()
            raise ObjectMissing("as if nobody had heard of it")

        monkeypatch.setattr(type(site.services.store), "copy", dies)
        assert complete(api, begun).status_code == 404
        assert real is type(site.services.store).copy
        wait_for(lambda: api.get(f"/uploads/{begun['upload']['id']}").json()["sha256"] == SHA256)
        assert count(site.services, Asset) == 1

    @pytest.fixture
    def config(self, config: Config) -> Config:
        return config.model_copy(
            update={"ingest": config.ingest.model_copy(update={"max_unfinished_bytes": 64_000_000_000})}
        )


def begin(api: httpx2.Client, **said: str) -> Any:
    answer = api.post("/uploads/multipart", json={"filename": "film.mp4", "size": len(FILM), **said})
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(api: httpx2.Client, begun: Any, number: int) -> int:
    """One part, to a URL that the server signs: the way a browser does it, without our headers."""
    answer = api.post(f"/uploads/multipart/{begun['upload']['id']}/parts", json={"numbers": [number]})
    (part,) = answer.json()["data"]
    start = (number - 1) * begun["part_size"]
    return httpx2.put(part["url"], content=FILM[start : start + part["size"]], verify=NO_TLS).status_code


def sent(api: httpx2.Client, begun: Any) -> Any:
    """The upload when all of it has been sent."""
    assert [send(api, begun, number) for number in (1, 2, 3)] == [200] * 3
    return complete(api, begun).json()["upload"]


def complete(api: httpx2.Client, begun: Any) -> httpx2.Response:
    return api.post(f"/uploads/multipart/{begun['upload']['id']}/complete")


def _counted(site: Site, path: str) -> int:
    """Without asking anybody to let go."""
    pieces = site.services.uploads._ledger.pieces(path.rpartition("/")[2])  # type: ignore[attr-defined]
    return sum(piece.size for piece in pieces)
