"""A way to the application for whoever means it harm: raw bytes in, every answer that comes back."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx2

from streamer.services import Services
from tests.web import NO_TLS

HOST = "films.example.org"
PASSWORD = "correct horse"
Seen = list[tuple[str, str]]

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@dataclass(frozen=True)
class Door:
    """`seen` are the requests that reached the application."""

    port: int
    services: Services
    seen: Seen
    clients: ExitStack

    def browser(self, **headers: str) -> httpx2.Client:
        """With cookies, and from our own pages unless it says otherwise."""
        sent = {"Host": HOST, "Sec-Fetch-Site": "same-origin", **headers}
        base = f"http://127.0.0.1:{self.port}"
        return self.clients.enter_context(httpx2.Client(base_url=base, headers=sent, timeout=20, verify=NO_TLS))

    def signed_in(self) -> httpx2.Client:
        """Ada, with her CSRF token."""
        browser = self.browser()
        answer = browser.post("/api/v1/session", json={"email": "ada@example.org", "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        browser.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        return browser

    @contextmanager
    def line(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as line:
            yield line

    def say(self, *pieces: bytes, quiet_s: float = 0.25) -> bytes:
        """Everything that comes back until the line is closed or silent."""
        with self.line() as line:
            for piece in pieces:
                line.sendall(piece)
            return heard(line, quiet_s)

    def status(self, request: str) -> int:
        """Of the one answer to a request without a body; 0 when the line was closed without any."""
        lines = request if request.endswith("\r\n") else f"{request}\r\n"
        answers = statuses(self.say(f"{lines}Connection: close\r\n\r\n".encode("latin-1"), quiet_s=5))
        assert len(answers) <= 1, answers
        return answers[0] if answers else 0

    @staticmethod
    def knock(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


def heard(line: socket.socket, quiet_s: float) -> bytes:
    line.settimeout(quiet_s)
    said = b""
    try:
        while piece := line.recv(65536):
            said += piece
    except (TimeoutError, ConnectionError):
        pass
    return said


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in _STATUS.findall(said)]
