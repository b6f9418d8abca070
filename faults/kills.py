"""The cycles: one fault after the other on `streamer up`, customers at work beside it, and the judgement in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from faults.senders import Ledger, Sender
from streamer.config import Config
from tests.servers import ROOT
from tests.whole import Product, make_film

PARTS = {
    "web": " web",
    "worker": " worker",
    "scheduler": " scheduler",
    "encoder": "packager.child",
    "valkey": "valkey-server",
}
FAULTS = (*PARTS, "all", "flushall")
LEAST_S, MOST_S = 0.3, 2.5
PATIENCE_S = 600


@dataclass
class Outcome:
    """What the senders were told against what the server has. `lost`, `changed` and `unready` are uploads' URLs or films' ids."""

    faults: Counter[str] = field(default_factory=Counter)
    breaks: int = 0
    uploads: int = 0
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unready: list[str] = field(default_factory=list)
    extra: int = 0
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.changed or self.unready or self.extra or self.differences)


def run(folder: Path, *, cycles: int, senders: int, seed: int, tell: Callable[[str], None]) -> Outcome:
    """All cycles on one server whose data is under `folder`."""
    chance, outcome, ledger = random.Random(seed), Outcome(), Ledger()
    film = make_film(folder / "film.mp4", seconds=3, size="160x96", fps=10).read_bytes()
    product = Product(folder / "var")
    product.__enter__()
    try:
        at_work = [Sender(product.url, product.key, film, ledger) for _ in range(senders)]
        for sender in at_work:
            sender.start()
        for cycle in range(cycles):
            time.sleep(chance.uniform(LEAST_S, MOST_S))
            fault = chance.choice(FAULTS)
            tell(f"{cycle + 1} of {cycles}: {fault}; {len(ledger.whole)} uploads, {ledger.breaks} requests broke")
            _break(product, fault)
            outcome.faults[fault] += 1
        for sender in at_work:
            sender.stop()
        for sender in at_work:
            sender.join(PATIENCE_S)
            assert not sender.is_alive(), "an upload never ended"
        tell("waiting for the films")
        _judge(product, ledger, outcome)
    finally:
        product.__exit__()
    outcome.differences = _fsck(product)
    return outcome


def _break(product: Product, fault: str) -> None:
    if fault == "flushall":
        _flush(product)
    elif fault == "all":
        product.process.kill()  # the kernel ends its children with it
        product.process.wait()
        product.__enter__()
    else:
        for pid in product.pids(PARTS[fault]):
            _kill(pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has just ended by itself


def _flush(product: Product) -> None:
    """Redis forgets everything."""
    try:
        with redis.Redis.from_url(Config.load(data_dir=product.data).redis_url) as client:
            client.flushall()
    except redis.RedisError:
        pass  # it was killed a moment ago, and forgot it that way


def _judge(product: Product, ledger: Ledger, outcome: Outcome) -> None:
    product.wait(product.is_ready, 60)
    outcome.breaks, outcome.uploads = ledger.breaks, len(ledger.whole)
    films: set[str] = set()
    for url, digest in ledger.whole.items():
        upload = product.api("GET", f"/uploads/{urlsplit(url).path.rpartition('/')[2]}").json
        asset_id = (upload.get("asset") or {}).get("id") or upload.get("asset_id")
        if upload.get("state") != "received" or not asset_id:
            outcome.lost.append(url)
            continue
        if upload["sha256"] != digest:
            outcome.changed.append(url)
        films.add(asset_id)
        if product.settled(asset_id, PATIENCE_S)["processing"] != "ready":
            outcome.unready.append(asset_id)
    outcome.extra = len(_all_films(product)) - len(films)


def _all_films(product: Product) -> list[str]:
    found: list[str] = []
    cursor = ""
    while True:
        page = product.api("GET", f"/assets?limit=100{cursor}").json
        found += [asset["id"] for asset in page["data"]]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def _fsck(product: Product) -> list[dict[str, Any]]:
    """Of the stopped server: every difference there is, young ones too. Sweeps have had no hour to collect what never became an upload."""
    command = [sys.executable, "-m", "streamer.cli", "fsck", "--json", "--settled", "0", "--data", str(product.data)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
