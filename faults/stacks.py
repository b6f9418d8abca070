"""The two ways to run the product, and what can happen to each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults import clock, disk, servers
from faults.processes import EMBEDDED, OF_PROCESSES, Fault, kill_of


@dataclass(frozen=True)
class Stack:
    """A folder for the product's data, its settings, and the faults that this machine can make."""

    data: Path
    environment: dict[str, str]
    faults: Mapping[str, Fault]


@contextmanager
def embedded(folder: Path, *, storage_errors: float, seed: int, tell: Callable[[str], None]) -> Iterator[Stack]:
    """`streamer up` with nothing else: SQLite, its own Valkey, files."""
    own = {name: kill_of(word) for name, word in EMBEDDED.items()}
    with ExitStack() as open_:
        data, faults = _disk(open_, folder, tell)
        yield Stack(data, {"STREAMER_INGEST__MIN_FREE_BYTES": "0"}, {**OF_PROCESSES, **own, **faults})


@contextmanager
def on_servers(folder: Path, *, storage_errors: float, seed: int, tell: Callable[[str], None]) -> Iterator[Stack]:
    """`streamer up` on MariaDB, Valkey and S3, with two workers, and all uploads in S3."""
    with ExitStack() as open_:
        data, faults = _disk(open_, folder, tell)
        around = open_.enter_context(servers.running(storage_errors=storage_errors, seed=seed))
        environment = {
            "STREAMER_INGEST__MIN_FREE_BYTES": "0",
            **around.environment,
            **clock.environment(folder / "clock"),
        }
        own = {"clock wrong": clock.wrong(folder / "clock")}
        yield Stack(data, environment, {**OF_PROCESSES, **around.faults, **faults, **own})


STACKS = {"embedded": embedded, "servers": on_servers}


def _disk(open_: ExitStack, folder: Path, tell: Callable[[str], None]) -> tuple[Path, dict[str, Fault]]:
    if disk.is_possible():
        return open_.enter_context(disk.mounted(folder / "disk")) / "var", {"disk full": disk.full}
    tell("No disk is filled: only root can mount a small one.")
    return folder / "var", {}
