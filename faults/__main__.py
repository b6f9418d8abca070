"""Kill everything again and again while customers upload, then prove that nothing was lost, doubled or left behind.

    python -m faults [--cycles 200] [--senders 2] [--seed 1]

Each cycle does one of FAULTS to a running embedded server, in an order that the seed fixes, in the middle of whatever is under way. In the end every
upload that was acknowledged must be one film that plays, with the hash that was sent, and `streamer fsck` must find nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from faults.kills import Outcome, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), cycles=arguments.cycles, senders=arguments.senders, seed=arguments.seed, tell=_tell)
    print(_sentence(outcome))
    sys.exit(0 if outcome.is_clean else 1)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _sentence(outcome: Outcome) -> str:
    faults = ", ".join(f"{count} x {name}" for name, count in sorted(outcome.faults.items()))
    return "\n".join(
        (
            f"{sum(outcome.faults.values())} faults: {faults}; {outcome.breaks} requests broke.",
            f"{outcome.uploads} uploads acknowledged: {len(outcome.lost)} lost, {len(outcome.changed)} changed, {outcome.extra} films too many,"
            f" {len(outcome.unready)} not ready.",
            f"fsck: {len(outcome.differences)} differences.",
            *(json.dumps(difference) for difference in outcome.differences[:20]),
        )
    )


if __name__ == "__main__":
    main()
