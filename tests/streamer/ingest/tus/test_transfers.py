import hashlib
import os
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
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
from tests.streamer.ingest.tus.client import Tus, metadata
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for

FILM = os.urandom(3_000_000)
SHA256 = hashlib.sha256(FILM).hexdigest()
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
NOBODY = "upl_" + "0" * 20


@pytest.fixture
def tus(site: Site) -> Tus:
    return Tus(site.as_("editor"))


def count(services: Services, table: Any) -> int:
    with db.reading(services) as s:
        return s.scalars(select(func.count()).select_from(table)).one()


def files(site: Site) -> list[str]:
    return sorted(path.name for path in site.services.config.uploads_dir.iterdir())


def sums(algorithm: str, data: bytes) -> str:
    return f"{algorithm} {b64encode(hashlib.new(algorithm, data).digest()).decode()}"


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


@SQLITE
class TestWhatIsSaid:
    def test_what_is_spoken_here_can_be_asked_by_anyone(self, site: Site, tus: Tus) -> None:
        for path in ("/tus", f"/tus/{NOBODY}"):
            answer = tus.client.options(path, headers={"Authorization": ""})
            assert answer.status_code == 204
            assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
            assert int(answer.headers["tus-max-size"]) == site.services.config.ingest.max_upload_bytes
            assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256,crc32"
            assert "concatenation" in answer.headers["tus-extension"].split(",")

    def test_refusals_are_problems_that_say_what_to_do(self, tus: Tus) -> None:
        path, unfinished = tus.new(100), tus.new(100, Upload_Concat="partial")
        wanted = [
            (tus.ask("POST", "/tus", Tus_Resumable="0.2.2", Upload_Length="5"), 412, "tus_version"),
            (tus.client.post("/tus"), 412, "tus_version"),
            (tus.patch(path, 0, b"x", Content_Type="application/octet-stream"), 415, "tus_content_type"),
            (tus.create(100, b"x", Content_Type="video/mp4"), 415, "tus_content_type"),
            (tus.patch(path, 5, b"x"), 409, "tus_offset"),
            (tus.patch(path, "-1", b"x"), 400, "tus_header"),
            (tus.patch(path, 1 << 63, b"x"), 413, "tus_past_the_end"),
            (tus.patch(path, 0, b"x" * 101), 413, "tus_past_the_end"),
            (tus.patch(path, 0, iter([b"x" * 101])), 413, "tus_past_the_end"),
            (tus.patch(path, 0, b"x", Upload_Length="200"), 400, "tus_length"),
            (tus.patch(path, 0, b"x", Upload_Checksum="md5 YQ=="), 400, "tus_checksum"),
            (tus.create(None), 400, "tus_header"),
            (tus.create("-5"), 400, "tus_header"),
            (tus.create("five"), 400, "tus_header"),
            (tus.create(1 << 63), 413, "file_too_large"),
            (tus.create(0), 400, "empty_file"),
            (tus.create(5, b"longer"), 400, "tus_length"),
            (tus.create(5, Upload_Metadata="filename !!"), 400, "tus_metadata"),
            (tus.create(5, Upload_Metadata=metadata(title="x" * 201)), 400, "invalid"),
            (tus.create(5, Upload_Metadata=metadata(policy="x")), 400, "invalid"),
            (tus.create(5, Upload_Concat="final;/x"), 400, "tus_concat"),
            (tus.create(None, Upload_Concat=f"final;/api/v1/tus/{NOBODY}"), 404, "not_found"),
            (tus.create(None, Upload_Concat=f"final;/api/v1{path}"), 400, "tus_concat"),
            (tus.create(None, Upload_Concat=f"final;/api/v1{unfinished}"), 409, "part_unfinished"),
            (tus.create(5, Upload_Concat=f"final;/api/v1{unfinished}"), 400, "tus_concat"),
            (tus.ask("POST", path), 405, "method_not_allowed"),
        ]  # fmt: skip
        for number, (answer, status, code) in enumerate(wanted):
            assert (answer.status_code, answer.json()["code"]) == (status, code), number
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["tus-resumable"] == "1.0.0"
            assert answer.json()["detail"], number
        assert tus.offset(path) == 0

    def test_ids_that_are_none_are_404(self, site: Site, tus: Tus) -> None:
        for id in (NOBODY, "x", "..%2f..%2fsecrets.json", "%2e%2e", "upl_%00", "upl_a%0d%0ab", "é"):
            for answer in (tus.head(f"/tus/{id}"), tus.patch(f"/tus/{id}", 0, b"x"), tus.ask("DELETE", f"/tus/{id}")):
                assert answer.status_code == 404, id
        assert files(site) == []

    def test_names_with_line_ends_and_nul_are_only_text(self, site: Site, tus: Tus) -> None:
        said = metadata(filename="../a\r\nX: y\0\u202e.mp4", title="one\r\ntwo\0")
        path = tus.path(tus.create(5, b"bytes", Upload_Metadata=said))
        asset = site.as_("editor").get(f"/assets/{tus.upload(path)['asset_id']}").json()
        assert (asset["title"], asset["source"]["name"]) == ("one two", "a X: y .mp4")
        assert tus.head(path).headers["upload-metadata"] == said

    def test_a_client_that_cannot_say_patch_says_post(self, tus: Tus) -> None:
        path = tus.path(tus.ask("POST", "/tus", Upload_Length="5"))
        sent = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        assert tus.ask("POST", path, b"by", **sent, X_HTTP_Method_Override="PATCH").status_code == 204
        assert tus.ask("POST", path, X_HTTP_Method_Override="head").headers["upload-offset"] == "2"
        assert tus.ask("POST", path, X_HTTP_Method_Override="DELETE").status_code == 204
        assert tus.head(path).status_code == 410


@SQLITE
class TestWhoMay:
    def test_nothing_is_written_for_who_may_not_upload(self, site: Site, tus: Tus) -> None:
        path = tus.new(100)
        for client, status in ((site.as_("viewer"), 403), (site.as_("editor"), 401)):
            authorization = client.headers["authorization"] if status == 403 else "Bearer wrong"
            other = Tus(client)
            other.headers |= {"Authorization": authorization}
            answers = [other.create(5, b"bytes"), other.patch(path, 0, b"bytes"), other.ask("DELETE", path)]
            assert [answer.status_code for answer in answers] == [status] * 3
        assert (tus.offset(path), len(files(site))) == (0, 1)

    def test_the_upload_of_another_user_or_of_the_raw_door_is_not_there(self, site: Site, tus: Tus) -> None:
        path, part = tus.new(100), tus.new(1, Upload_Concat="partial")
        other = Tus(site.as_("admin"))
        answers = [other.head(path), other.patch(path, 0, b"x"), other.ask("DELETE", path)]
        answers.append(other.create(None, Upload_Concat=f"final;/api/v1{part}"))
        assert [answer.status_code for answer in answers] == [404] * 4
        assert tus.offset(path) == 0
        raw = site.as_("editor").post("/uploads?filename=a.mp4", content=b"bytes").json()["upload"]["id"]
        assert tus.head(f"/tus/{raw}").status_code == 404

    def test_a_page_of_another_site_cannot_send_for_a_signed_in_user(self, site: Site, tus: Tus) -> None:
        account = {"email": site.user("editor").email, "password": "a good one"}
        signed_in = tus.client.post("/session", json=account, headers={"Authorization": ""})
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        page = {"Authorization": "", "Cookie": cookie, "Upload-Length": "5", "Origin": site.base}
        token = {"X-CSRF-Token": signed_in.json()["csrf_token"]}
        assert tus.ask("POST", "/tus", **page).json()["code"] == "csrf"
        assert tus.ask("POST", "/tus", **{**page, **token, "Origin": "https://evil.example"}).status_code == 403
        assert tus.ask("POST", "/tus", **page, **token).status_code == 201
        overridden = {**page, "X-HTTP-Method-Override": "HEAD"}
        assert tus.ask("POST", f"/tus/{NOBODY}", **overridden).json()["code"] == "csrf"


@SQLITE
class TestBytes:
    def test_the_first_bytes_may_come_with_the_beginning(self, tus: Tus) -> None:
        answer = tus.create(len(FILM), FILM[:7])
        assert (answer.status_code, answer.headers["upload-offset"]) == (201, "7")
        left_s = parsedate_to_datetime(answer.headers["upload-expires"]).timestamp() - time.time()
        assert 86_000 < left_s < 86_401
        assert tus.patch(tus.path(answer), 7, FILM[7:]).status_code == 204
        assert tus.upload(tus.path(answer))["sha256"] == SHA256

    def test_the_length_may_be_told_with_the_last_bytes_or_after_them(self, tus: Tus) -> None:
        path = tus.new(None, Upload_Defer_Length="1")
        assert tus.patch(path, 0, FILM[:9]).status_code == 204
        assert tus.head(path).headers["upload-defer-length"] == "1"
        assert tus.patch(path, 9, b"", Upload_Length="8").json()["code"] == "tus_length"
        assert tus.patch(path, 9, b"", Upload_Length=str(1 << 63)).json()["code"] == "file_too_large"
        assert tus.patch(path, 9, FILM[9:], Upload_Length=str(len(FILM))).status_code == 204
        assert tus.upload(path)["sha256"] == SHA256

        path = tus.new(None, Upload_Defer_Length="1")
        tus.patch(path, 0, FILM)
        assert tus.patch(path, len(FILM), b"", Upload_Length=str(len(FILM))).status_code == 204
        assert tus.upload(path)["sha256"] == SHA256

    def test_damaged_bytes_are_dropped_and_right_ones_taken(self, tus: Tus) -> None:
        for algorithm in ("sha1", "sha256"):
            path = tus.new(len(FILM))
            tus.patch(path, 0, FILM[:3])
            damaged = tus.patch(path, 3, FILM[3:2_000_000], Upload_Checksum=sums(algorithm, b"other"))
            assert (damaged.status_code, damaged.json()["code"], tus.offset(path)) == (460, "checksum_mismatch", 3)
            assert tus.patch(path, 3, FILM[3:], Upload_Checksum=sums(algorithm, FILM[3:])).status_code == 204
            assert tus.upload(path)["sha256"] == SHA256

    def test_bytes_are_acknowledged_when_file_and_folder_are_synced(
        self, site: Site, tus: Tus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        for name in ("fsync", "fdatasync"):
            real = getattr(os, name)

            def spy(handle: int, real: Any = real) -> None:
                real(handle)
                synced.append(f"{os.path.basename(os.readlink(f'/proc/self/fd/{handle}'))} {os.fstat(handle).st_size}")

            monkeypatch.setattr(os, name, spy)
        path = tus.new(10)
        assert any(entry.startswith("uploads ") for entry in synced)
        tus.patch(path, 0, b"12345")
        assert f"{path.rpartition('/')[2]} 5" in synced

    def test_a_disk_that_fills_up_keeps_what_fits_and_takes_the_rest_when_there_is_room(
        self, tus: Tus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.writev

        def full(handle: int, pieces: list[bytes]) -> int:
            if os.fstat(handle).st_size >= 1 << 20:
                raise OSError(28, "No space left on device")
            return real(handle, pieces)

        path = tus.new(len(FILM))
        with monkeypatch.context() as patch:
            patch.setattr("storage.uploads.os.writev", full)
            answer = tus.patch(path, 0, FILM)
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        offset = tus.offset(path)
        assert offset >= 1 << 20
        assert tus.patch(path, offset, FILM[offset:]).status_code == 204
        assert tus.upload(path)["sha256"] == SHA256

    def test_a_sender_that_falls_silent_keeps_what_it_sent(self, site: Site, tus: Tus) -> None:
        def stalls() -> Iterator[bytes]:
            yield FILM[:1_500_000]
            time.sleep(1.0)

        path = tus.new(len(FILM))
        answer = tus.patch(path, 0, stalls())
        assert (answer.status_code, answer.json()["code"]) == (408, "upload_stalled")
        assert tus.offset(path) >= 1 << 20

    @pytest.fixture
    def config(self, config: Config, request: pytest.FixtureRequest) -> Config:
        idle_s = 0.5 if "silent" in request.node.name else 20.0
        return config.model_copy(update={"ingest": config.ingest.model_copy(update={"idle_timeout_s": idle_s})})
