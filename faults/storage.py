"""Object storage as bad as it is told to be, between the product and a real S3."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from urllib.parse import parse_qs, urlsplit

from tests.storage.proxy import Fault, FaultyProxy

SLOW_S = (0.5, 3.0)
WAYS = ("refuses", "loses answers", "crawls", "breaks off", "lies")


class UnreliableStorage(FaultyProxy):
    """Passes requests on, but for a share of them, each of which goes wrong in one of WAYS."""

    def __init__(self, target: str, *, share: float, seed: int) -> None:
        super().__init__(target)
        self._usual: tuple[float, Sequence[str]] = (share, WAYS)
        self._ways: Sequence[str]
        self._share, self._ways = self._usual
        self._chance = random.Random(seed)

    @contextmanager
    def worse(self, share: float, ways: Sequence[str]) -> Iterator[None]:
        """For the length of the block."""
        self._share, self._ways = share, ways
        yield
        self._share, self._ways = self._usual

    def take(self, method: str, path: str) -> Fault | None:
        with self.lock:
            if self._chance.random() >= self._share:
                return None
            return self._fault(self._chance.choice(self._ways), method, path)

    def _fault(self, way: str, method: str, path: str) -> Fault:
        if way == "crawls":
            pause_s = self._chance.uniform(*SLOW_S)
            return _fault(before=lambda: time.sleep(pause_s))
        if way == "breaks off":
            return _fault(cut=self._chance.randrange(1, 100_000))
        if way == "lies" and method == "POST" and "uploadId" in parse_qs(urlsplit(path).query):
            return _fault(
                status=200, code="InternalError", forward=self._chance.random() < 0.5
            )  # of CompleteMultipartUpload
        status, code = self._chance.choice(((500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable")))
        return _fault(status=status, code=code, forward=way == "loses answers")


_fault = partial(Fault, lambda method, path: True, 1)
"""For the request in hand."""
