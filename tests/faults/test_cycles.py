"""Short runs of `make faults`: what matters most breaks once while films come in, and nothing is lost, doubled or left behind."""

from pathlib import Path

import pytest

from faults.cycles import run
from faults.stacks import STACKS


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("stack", "faults"),
    [
        ("embedded", ["web", "worker", "encoder", "valkey", "all"]),
        ("servers", ["mariadb dies", "valkey dies", "storage lies", "deadlocks", "asleep"]),
    ],
)
def test_nothing_is_lost_doubled_or_left_behind(stack: str, faults: list[str], tmp_path: Path) -> None:
    with STACKS[stack](tmp_path, storage_errors=0, seed=1, tell=print) as made:
        outcome = run(made, tmp_path, cycles=len(faults), senders=1, seed=1, only=faults, tell=print)
    assert outcome.uploads >= 1 and sum(outcome.faults.values()) == len(faults)
    assert outcome.is_clean, outcome
