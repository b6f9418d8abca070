"""A file sent to another server by tus, over lines that break: what `streamer import --url` speaks.

After a break HEAD tells how much is there, and the rest goes on from that. Pieces of 64 MiB are what proxies let pass, and what is lost at most
when one holds a request back until it is whole. As long as something new arrives there, it goes on; else it gives up after two minutes.
"""

import http.client
import json
import os
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from streamer import ids
from streamer.errors import Conflict, Gone, Invalid, Problem
from streamer.ingest.files import Look
from streamer.ingest.tus.protocol import BYTES, VERSION

T = TypeVar("T")
PAUSES_S = (0.0, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
_PIECE, _READ = 64 << 20, 1 << 20
_TIMEOUT_S, _STORED_S = 60.0, 600.0  # S3 may take a while to make one object of all parts
_PASSING = {408, 409, 423, 425, 429, 460, 500, 502, 503, 504, 507}


class Refused(Problem):
    """The other server will not have it."""

    status, default_code, title = 502, "server_refused", "The other server refused it"


class Lost(ConnectionError):
    """No answer, or one that may be another in a while."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    document: Any


class Server:
    """A Streamer elsewhere; `url` is where browsers reach it, `key` one of its API keys."""

    def __init__(self, url: str, key: str) -> None:
        self._at = urlsplit(url.rstrip("/"))
        if self._at.scheme not in ("http", "https") or not self._at.hostname or self._at.query:
            raise Invalid(f"{url!r} is not the address of a server, such as https://films.example.org.")
        self.url, self._key = self._at.geturl(), key.strip()

    def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: Any = None, wait_s: float = 0
    ) -> Answer:
        """One request below /api/v1. Lost when it may pass, Refused with the server's own words when it will not."""
        sent = {"Authorization": f"Bearer {self._key}", "Tus-Resumable": VERSION, **(headers or {})}
        try:
            with closing(self._connection()) as connection:
                answer = _answered(connection, method, f"{self._at.path}/api/v1{path}", sent, body, wait_s)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: half a JSON document
            raise Lost(f"{self.url} does not answer: {error or type(error).__name__}") from error
        return _judged(answer, self.url)

    def _connection(self) -> http.client.HTTPConnection:
        assert self._at.hostname is not None  # `__init__` looked
        if self._at.scheme == "http":
            return http.client.HTTPConnection(self._at.hostname, self._at.port, timeout=_TIMEOUT_S)
        trusted = ssl.create_default_context()
        return http.client.HTTPSConnection(self._at.hostname, self._at.port, timeout=_TIMEOUT_S, context=trusted)


def send(
    server: Server, path: Path, said: Mapping[str, str], begun: str | None, noted: Callable[[str], None], look: Look
) -> str:
    """Send the file with this Upload-Metadata, or what is missing of the upload `begun`; the upload's id, of which `noted` is told first.

    Refused, Lost, OSError, or Conflict when the file changes meanwhile.
    """
    with path.open("rb", buffering=0) as file:
        transfer = _Transfer(server, file, os.fstat(file.fileno()), look)
        upload_id = begun if begun and transfer.goes_on(begun) else None
        if upload_id is None:
            noted(upload_id := transfer.begin(said))
        transfer.run(upload_id)
    return upload_id


class _Transfer:
    def __init__(self, server: Server, file: IO[bytes], facts: os.stat_result, look: Look) -> None:
        self._server, self._file, self._facts, self._look = server, file, facts, look
        self._offset, self._size = 0, facts.st_size

    def begin(self, said: Mapping[str, str]) -> str:
        pairs = ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in said.items())
        wanted = {"Upload-Length": str(self._size), "Upload-Metadata": pairs}
        made = patiently(lambda: self._server.ask("POST", "/tus", headers=wanted))
        upload_id = urlsplit(made.headers.get("location", "")).path.rpartition("/")[2]
        if made.status != 201 or not ids.is_id(upload_id):
            raise Refused(f"{self._server.url} answered {made.status} and no upload: is it a Streamer?")
        return upload_id

    def goes_on(self, upload_id: str) -> bool:
        """Whether the server still has it."""
        try:
            patiently(lambda: self._find(upload_id))
        except Gone:
            return False
        return True

    def run(self, upload_id: str) -> None:
        """Piece after piece, found again after each break."""
        tries = 0
        while (before := self._offset) < self._size:
            try:
                if tries:
                    self._find(upload_id)
                self._piece(upload_id)
                tries = 0
            except Lost:
                tries = 1 if self._offset > before else tries + 1
                if tries > len(PAUSES_S):
                    raise
                time.sleep(PAUSES_S[tries - 1])

    def _find(self, upload_id: str) -> None:
        found = self._server.ask("HEAD", f"/tus/{upload_id}")
        self._offset = int(found.headers.get("upload-offset", "0"))

    def _piece(self, upload_id: str) -> None:
        self._check_same()
        size = min(_PIECE, self._size - self._offset)
        headers = {"Upload-Offset": str(self._offset), "Content-Type": BYTES, "Content-Length": str(size)}
        done = self._server.ask(
            "PATCH", f"/tus/{upload_id}", headers=headers, body=self._bytes(self._offset, size), wait_s=_STORED_S
        )
        self._offset = int(done.headers.get("upload-offset", self._offset + size))

    def _bytes(self, start: int, size: int) -> Iterator[bytes]:
        self._file.seek(start)
        end = start + size
        while start < end and (data := self._file.read(min(_READ, end - start))):
            yield data
            start += len(data)
            self._look(start, self._size)

    def _check_same(self) -> None:
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._facts.st_size, self._facts.st_mtime_ns):
            raise Conflict("The file changed while it was sent. Try again when it is finished.", code="file_changed")


def patiently(ask: Callable[[], T]) -> T:
    """Asked again for two minutes while there is no answer, or one that may pass."""
    for pause_s in PAUSES_S:
        time.sleep(pause_s)
        with suppress(Lost):
            return ask()
    return ask()


def _answered(
    connection: http.client.HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: Any, wait_s: float
) -> Answer:
    """A server that refuses early closes while we still send: its answer is what counts then."""
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, path, body=body, headers=dict(headers))
    if wait_s and connection.sock is not None:
        connection.sock.settimeout(wait_s)
    response = connection.getresponse()
    text = response.read(1 << 20)
    named = {name.lower(): value for name, value in response.getheaders()}
    is_json = "json" in named.get("content-type", "")
    return Answer(response.status, named, json.loads(text) if is_json and text else None)


def _judged(answer: Answer, url: str) -> Answer:
    if answer.status < 300:
        return answer
    told = answer.document if isinstance(answer.document, dict) else {}
    words = str(told.get("detail") or told.get("title") or f"{url} answered {answer.status}.")
    if answer.status == 401:
        words = f"{url} does not know this key, or not any more. Make one there: streamer apikey create."
    if answer.status in _PASSING:
        raise Lost(words)
    if answer.status in (404, 410):
        raise Gone(words, code=str(told.get("code", "gone")))
    if answer.status < 400:
        words = f"{url} sends us on to {answer.headers.get('location', 'another address')}: give that one."
    raise Refused(words, code=str(told.get("code", Refused.default_code)))
