"""A viewer who plays one film again and again, whatever breaks, and remembers each answer that a player should not get."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.whole import Answer, Product

PAUSE_S = 0.1
JOIN_S = 2.0
"""Between two sessions."""


@dataclass
class Seen:
    """What a viewer met. `wrong` are answers that say the film is gone or forbidden, or that another server's trouble should not have caused."""

    answers: int = 0
    breaks: int = 0
    busy: int = 0
    wrong: list[str] = field(default_factory=list)


class Viewer(threading.Thread):
    """Plays until it is asked to stop. `storage_is_down()` tells whether 503 is the right answer to a request for media."""

    def __init__(self, product: Product, film: Path) -> None:
        super().__init__(daemon=True)
        self._product, self._asset = product, product.ready(film, policy="public")
        self._stopping = threading.Event()
        self.asset_id: str = self._asset["id"]
        self.seen = Seen()
        self.fault = ""
        """The one that is being made, or was last."""

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            if session := self._session():
                until = time.monotonic() + JOIN_S
                while time.monotonic() < until and not self._stopping.is_set():
                    self._play(session["manifest_url"])

    def _session(self) -> Any:
        answer = self._ask("POST", "/api/v1/playback-sessions", {"playback_id": self._asset["playback_ids"][0]["id"]})
        return answer.json if answer and answer.status == 201 else None

    def _play(self, master: str) -> None:
        for playlist in self._listed(master):
            for media in self._listed(playlist):
                self._ask("GET", media)

    def _listed(self, playlist: str) -> list[str]:
        """The URLs that a playlist names."""
        answer = self._ask("GET", playlist)
        if answer is None or answer.status != 200:
            return []
        base = playlist.rpartition("/")[0]
        return [f"{base}/{line}" for line in answer.body.decode().splitlines() if line and not line.startswith("#")]

    def _ask(self, method: str, path: str, value: Any = None) -> Answer | None:
        """None for a broken line, which players try again."""
        time.sleep(PAUSE_S)
        before = self.fault
        try:
            answer = (
                self._product.api(method, path.removeprefix("/api/v1"), value) if value else self._product.get(path)
            )
        except (OSError, http.client.HTTPException):
            self.seen.breaks += 1
            return None
        self.seen.answers += 1
        if answer.status >= 500 and (value or _is_of_storage(before) or _is_of_storage(self.fault)):
            self.seen.busy += 1
        elif answer.status >= 400:
            self.seen.wrong.append(f"{answer.status} during {before or 'nothing'}: {method} {path.rpartition('/')[2]}")
        return answer


def _is_of_storage(fault: str) -> bool:
    """S3 refuses requests that are signed by a clock that is a quarter of an hour wrong."""
    return fault.startswith(("storage", "clock"))
