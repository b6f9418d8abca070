"""What tus clients are told: what is spoken here, and what was wrong with a request."""

import pytest

from tests.streamer.ingest.tus.client import NOBODY, Tus, files, metadata
from tests.streamer.site_under_test import Site

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


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
