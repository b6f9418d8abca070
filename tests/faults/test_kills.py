"""A short run of `make faults`: everything is killed once or more while films come in, and nothing is lost, doubled or left behind."""

from pathlib import Path

import pytest

from faults.kills import run


@pytest.mark.timeout(300)
def test_nothing_is_lost_doubled_or_left_behind_by_kills(tmp_path: Path) -> None:
    outcome = run(tmp_path, cycles=8, senders=1, seed=4, tell=print)
    assert outcome.uploads >= 1 and sum(outcome.faults.values()) == 8
    assert outcome.is_clean, outcome
