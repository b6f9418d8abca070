"""The bytes of an upload: how they may come, what damages them, and what is kept of them."""

import hashlib
import json
import os
import time
from base64 import b64encode
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from typing import Any

import pytest

from streamer.config import Config
from tests.streamer.ingest.tus.client import Tus
from tests.streamer.site_under_test import Site

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
FILM = os.urandom(3_000_000)
SHA256 = hashlib.sha256(FILM).hexdigest()


def sums(algorithm: str, data: bytes) -> str:
    return f"{algorithm} {b64encode(hashlib.new(algorithm, data).digest()).decode()}"


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
        first = tus.patch(path, 0, FILM)
        assert first.status_code == 204, first.text
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
        path = tus.new(len(FILM))
        with tus.half_sent(path, 0, FILM[:1_500_000], promised=len(FILM)) as silent, HTTPResponse(silent) as answer:
            answer.begin()
            assert (answer.status, json.loads(answer.read())["code"]) == (408, "upload_stalled")
        assert tus.offset(path) >= 1 << 20

    @pytest.fixture
    def config(self, config: Config, request: pytest.FixtureRequest) -> Config:
        idle_s = 0.5 if "silent" in request.node.name else 20.0
        return config.model_copy(update={"ingest": config.ingest.model_copy(update={"idle_timeout_s": idle_s})})
