"""The cycles: one fault after the other on `streamer up`, customers and a viewer at work beside it, and the judgement in the end."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from faults.senders import Ledger, Sender
from faults.stacks import Stack
from faults.viewers import Seen, Viewer
from tests.whole import Product, make_film

LEAST_S, MOST_S = 0.3, 2.5
PATIENCE_S = 600


@dataclass
class Outcome:
    """What the senders were told against what the server has, and what the viewer met.

    `lost`, `changed` and `unready` are uploads' URLs or films' ids.
    """

    faults: Counter[str] = field(default_factory=Counter)
    breaks: int = 0
    uploads: int = 0
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unready: list[str] = field(default_factory=list)
    extra: int = 0
    seen: Seen = field(default_factory=Seen)
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.changed or self.unready or self.extra or self.seen.wrong or self.differences)


def run(
    stack: Stack,
    folder: Path,
    *,
    cycles: int,
    senders: int,
    seed: int,
    only: Sequence[str] = (),
    tell: Callable[[str], None],
) -> Outcome:
    """All cycles on one server; each fault once before any comes again; `only` these, if not all there are."""
    chance, outcome, ledger = random.Random(seed), Outcome(), Ledger()
    film = make_film(folder / "film.mp4", seconds=3, size="160x96", fps=10)
    product = Product(stack.data, **stack.environment)
    product.__enter__()
    try:
        viewer = Viewer(product, film)
        content = film.read_bytes()
        at_work: list[Viewer | Sender] = [
            viewer,
            *(Sender(product.url, product.key, content, ledger) for _ in range(senders)),
        ]
        for each in at_work:
            each.start()
        for cycle, fault in enumerate(islice(_order(chance, only or sorted(stack.faults)), cycles)):
            time.sleep(chance.uniform(LEAST_S, MOST_S))
            viewer.fault = fault
            tell(f"{cycle + 1} of {cycles}: {fault}; {len(ledger.whole)} uploads, {ledger.breaks} requests broke")
            stack.faults[fault](product, chance)
            outcome.faults[fault] += 1
        for each in at_work:
            each.stop()
        for each in at_work:
            each.join(PATIENCE_S)
            assert not each.is_alive(), "an upload or a viewer never ended"
        tell("waiting for the films")
        outcome.seen = viewer.seen
        _judge(product, ledger, outcome, {viewer.asset_id})
    finally:
        product.__exit__()
    outcome.differences = _fsck(product)
    return outcome


def _order(chance: random.Random, faults: Sequence[str]) -> Iterator[str]:
    """All of them, then all again in another order, without end."""
    while True:
        yield from chance.sample(faults, len(faults))


def _judge(product: Product, ledger: Ledger, outcome: Outcome, films: set[str]) -> None:
    """`films` are those that nobody in the ledger sent."""
    product.wait(product.is_ready, 60)
    outcome.breaks, outcome.uploads = ledger.breaks, len(ledger.whole)
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
    done = product.command("fsck", "--json", "--settled", "0")
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
