"""Somebody else's web server with one film on it, and with the habits that a test gives it."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FilmServer:
    """Serves `film` at any path, by ranges if `ranges`, and closes after `cut_after` bytes of a body while there are such numbers left.

    `answers` are used up first, one per request. `asked` are the requests' headers.
    """

    film: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    type: str = "video/mp4"
    disposition: str | None = None
    cut_after: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    pause_s: float = 0.0
    _server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/films/My%20film.mp4?key=1"

    def __enter__(self) -> Self:
        serve: Any = self._serve

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                serve(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append({name.lower(): value for name, value in request.headers.items()})
        request.close_connection = True
        try:
            (self.answers.pop(0) if self.answers else self._film)(request)
        except OSError:
            pass  # the client went away

    def _film(self, request: BaseHTTPRequestHandler) -> None:
        start = self._start(request)
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.film) - 1}/{len(self.film)}")
        said = {"ETag": self.etag, "Last-Modified": self.modified, "Content-Type": self.type}
        for name, value in {**said, "Content-Disposition": self.disposition}.items():
            if value is not None:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(self.film) - start))
        request.end_headers()
        end = start + self.cut_after.pop(0) if self.cut_after else len(self.film)
        for at in range(start, min(end, len(self.film)), 100_000):
            request.wfile.write(self.film[at : min(at + 100_000, end)])
            time.sleep(self.pause_s)

    def _start(self, request: BaseHTTPRequestHandler) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        fits = request.headers.get("if-range") in (self.etag, self.modified)
        return int(asked[1]) if asked and fits and self.ranges else 0


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """One short answer."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def forever(piece: bytes, pause_s: float = 0.0) -> Answer:
    """A body without an end and without a length."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(piece)
            request.wfile.flush()
            time.sleep(pause_s)

    return answer
