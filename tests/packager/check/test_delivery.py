"""The checker over HTTP and S3: the same findings, and what only a server can do wrong."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from packager.check import check
from storage import open_store
from storage.mimes import media_type
from tests.packager import tiny

DELIVERY_RULES = {"gzip", "mime", "cors", "redirect"}


@dataclass
class Server:
    """A careful server over a folder, with one habit changed at will."""

    root: Path
    url: str = ""
    gzip: bool = True
    cors: bool = True
    type_of: Callable[[str], str] = media_type
    redirect: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(good: Path) -> Iterator[Server]:
    shared = Server(good)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path.removeprefix("/token")
            shared.asked.append(self.path)
            if shared.redirect and path == shared.redirect:
                return self.answer(302, b"", {"Location": f"/token/moved{path}"})
            file = shared.root / path.removeprefix("/moved").lstrip("/")
            if not self.path.startswith("/token/") or not file.is_file():
                return self.answer(404, b"no", {})
            headers = {"Content-Type": shared.type_of(file.name)}
            if shared.cors:
                headers["Access-Control-Allow-Origin"] = "*"
            data = file.read_bytes()
            if "Range" in self.headers:
                first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
                return self.answer(206, data[first : last + 1], headers)
            if shared.gzip and file.suffix == ".m3u8" and "gzip" in self.headers.get("Accept-Encoding", ""):
                data, headers = gzip.compress(data), headers | {"Content-Encoding": "gzip"}
            return self.answer(200, data, headers)

        def answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        shared.url = f"http://127.0.0.1:{listening.server_address[1]}/token/master.m3u8"
        yield shared
        listening.shutdown()
        thread.join()


def found(server: Server) -> set[tuple[int, str]]:
    return {(finding.rule, finding.severity) for finding in check(server.url).findings}


def test_a_careful_server_breaks_nothing_and_keeps_the_token_in_every_request(server: Server) -> None:
    assert check(server.url).findings == []
    assert len(server.asked) > 40 and all(path.startswith("/token/") for path in server.asked)


def test_each_segment_is_fetched_once(server: Server) -> None:
    check(server.url)
    for rendition in ("a-128-en", "a-48-sv", "t0"):
        segments = [path for path in server.asked if f"/{rendition}/0" in path]
        assert len(segments) == len(set(segments)) == 3


def test_a_film_in_the_making_is_read_from_a_server(server: Server, renditions: tiny.Renditions) -> None:
    tiny.write_stage(server.root, renditions, "grow", segments=2)
    grow = server.url.replace("master", "grow")
    assert check(grow).findings == []
    (server.root / "v144" / "000001.m4s").unlink()
    assert {(finding.rule, finding.severity) for finding in check(grow).findings} == {(9, "must")}


def test_the_report_of_a_passed_through_film_counts_where_the_server_shows_it(server: Server, passed: Path) -> None:
    server.root = passed
    assert found(server) == set()
    (passed / "report.json").unlink()
    assert found(server) == {(31, "should")}


def test_playlists_without_gzip_are_named(server: Server) -> None:
    server.gzip = False
    assert found(server) == {(41, "must")}


def test_wrong_media_types_are_named(server: Server) -> None:
    server.type_of = lambda name: "text/plain" if name.endswith(".m4s") else media_type(name)
    assert found(server) == {(42, "should")}


def test_playlists_of_a_wrong_type_are_named(server: Server) -> None:
    server.type_of = lambda name: "application/json" if name.endswith(".m3u8") else media_type(name)
    assert found(server) == {(42, "should")}


def test_missing_cors_is_named(server: Server) -> None:
    server.cors = False
    assert found(server) == {(42, "should")}


def test_redirected_media_are_named_and_still_read(server: Server) -> None:
    server.redirect = "/v144/000001.m4s"
    assert found(server) == {(43, "must")}


def test_a_missing_object_is_named_with_the_servers_answer(server: Server) -> None:
    (server.root / "v144" / "000001.m4s").unlink()
    findings = check(server.url).findings
    assert any(finding.rule == 9 and "HTTP 404" in finding.message for finding in findings)


def test_a_server_that_is_not_there_is_a_finding() -> None:
    findings = check("http://127.0.0.1:9/master.m3u8").findings
    assert [(finding.rule, finding.severity) for finding in findings] == [(9, "must")]
    assert "does not answer" in findings[0].message


def test_a_package_in_s3_reads_like_a_folder(good: Path, s3_url: str) -> None:
    store = open_store(s3_url)
    for path in sorted(good.rglob("*")):
        if path.is_file():
            key = f"film/{path.relative_to(good)}"
            store.put(key, path, type=media_type(path.name))
    base, _, query = s3_url.partition("?")
    assert check(f"{base.rstrip('/')}/film?{query}").findings == []
    store.delete("film/v144/000001.m4s")
    assert {finding.rule for finding in check(f"{base.rstrip('/')}/film?{query}").findings} >= {9}
