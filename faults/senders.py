"""Customers who never give up: each sends one film after the other by tus and remembers what the server acknowledged."""

from __future__ import annotations

import io
import secrets
import threading
import time
from dataclasses import dataclass, field
from hashlib import sha256

import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

PIECE, PAUSE_S = 256 << 10, 0.05
PADDING = 1 << 20
AGAIN_S = 0.3


class SlowFile(io.BytesIO):
    """Read at the pace of a good line, so that most faults meet an upload under way."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(PAUSE_S)
        return super().read(size)


@dataclass
class Ledger:
    """What all senders were told, for any thread: the SHA-256 by the upload's URL; `breaks` counts requests that failed."""

    whole: dict[str, str] = field(default_factory=dict)
    breaks: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sender(threading.Thread):
    """Sends until it is asked to stop, and finishes the film it has begun."""

    def __init__(self, url: str, key: str, film: bytes, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self._client = TusClient(f"{url}/api/v1/tus", headers={"Authorization": f"Bearer {key}"})
        self._film, self._ledger = film, ledger
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            content = unlike_any_other(self._film)
            url = self._send(content)
            with self._ledger.lock:
                self._ledger.whole[url] = sha256(content).hexdigest()

    def _send(self, content: bytes) -> str:
        """Until the server has said that all of it is there; the upload's URL. One whose creation was never answered counts for nothing."""
        url: str | None = None
        while True:
            try:
                uploader = self._client.uploader(
                    file_stream=SlowFile(content), chunk_size=PIECE, url=url, metadata={"filename": "film.mp4"}
                )
                url = uploader.url or url
                if url is None:
                    uploader.set_url(uploader.create_url())
                    url = uploader.url
                uploader.upload()
                assert url
                return url
            except (TusCommunicationError, requests.RequestException, OSError):
                with self._ledger.lock:
                    self._ledger.breaks += 1
                time.sleep(AGAIN_S)


def unlike_any_other(film: bytes) -> bytes:
    """The same film in another file: a `free` box of random bytes at its end (ISO/IEC 14496-12 §8.1.2)."""
    return film + (8 + PADDING).to_bytes(4, "big") + b"free" + secrets.token_bytes(PADDING)
