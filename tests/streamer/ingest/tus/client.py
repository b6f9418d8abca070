"""A tus client that says exactly what a test wants said."""

import socket
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

import httpx2

from streamer.ingest.tus.protocol import BYTES, VERSION
from tests.streamer.site_under_test import Site

NOBODY = "upl_" + "0" * 20
"""An upload that never was."""


def metadata(**said: str) -> str:
    return ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in said.items())


@dataclass
class Tus:
    """`client` is authorised and knows the API's address."""

    client: httpx2.Client
    headers: dict[str, str] = field(default_factory=lambda: {"Tus-Resumable": VERSION})

    def create(self, length: int | str | None, content: Any = None, **headers: str) -> httpx2.Response:
        sent = {} if length is None else {"Upload-Length": str(length)}
        if content is not None:
            sent["Content-Type"] = BYTES
        return self.ask("POST", "/tus", content, **{**sent, **_named(headers)})

    def new(self, length: int | str | None, **headers: str) -> str:
        """The path of a new upload below the API's address."""
        answer = self.create(length, **headers)
        assert answer.status_code == 201, answer.text
        return self.path(answer)

    def path(self, created: httpx2.Response) -> str:
        return str(created.headers["location"]).removeprefix("/api/v1")

    def patch(self, path: str, offset: int | str, content: Any, **headers: str) -> httpx2.Response:
        return self.ask(
            "PATCH", path, content, **{"Upload-Offset": str(offset), "Content-Type": BYTES, **_named(headers)}
        )

    def head(self, path: str) -> httpx2.Response:
        return self.ask("HEAD", path)

    def offset(self, path: str) -> int:
        answer = self.head(path)
        assert answer.status_code == 200, answer.status_code
        return int(answer.headers["upload-offset"])

    def ask(self, method: str, path: str, content: Any = None, **headers: str) -> httpx2.Response:
        return self.client.request(method, path, content=content, headers={**self.headers, **_named(headers)})

    def half_sent(
        self, path: str, offset: int, data: bytes, *, promised: int, port: int | None = None, **headers: str
    ) -> socket.socket:
        """The connection of a PATCH that promised more than it has sent so far; `port` is that of a line to the server."""
        connection = socket.create_connection(("127.0.0.1", port or self.client.base_url.port or 0), timeout=30)
        connection.sendall(self.head_of_patch(path, offset, promised, **headers) + data)
        return connection

    def head_of_patch(self, path: str, offset: int, promised: int, **headers: str) -> bytes:
        said = {
            "Host": "localhost",
            "Authorization": self.client.headers["authorization"],
            "Upload-Offset": str(offset),
            "Content-Type": BYTES,
            "Content-Length": str(promised),
            **self.headers,
            **_named(headers),
        }
        lines = [f"PATCH /api/v1{path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
        return "\r\n".join(lines).encode()

    def upload(self, path: str) -> Any:
        """The resource that the raw door would have answered with."""
        return self.client.get(path.replace("/tus/", "/uploads/")).json()


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def files(site: Site) -> list[str]:
    """What lies in the folder of uploads."""
    return sorted(path.name for path in site.services.config.uploads_dir.iterdir())
