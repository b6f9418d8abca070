"""Break everything again and again while customers upload and watch, then prove that nothing was lost, doubled or left behind.

    python -m faults [--stack embedded|servers] [--cycles 200] [--senders 2] [--seed 1] [--only FAULT…] [--storage-errors 0.2]

Each cycle makes one fault of a running server, in an order that the seed fixes, in the middle of whatever is under way. In the end every upload
that was acknowledged must be one film that plays, with the hash that was sent, the viewer must have met no answer that a fault does not excuse,
and `streamer fsck` must find nothing. `--storage-errors` has that share of all requests to S3 go wrong the whole time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from faults.cycles import Outcome, run
from faults.stacks import STACKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", choices=STACKS, default="embedded")
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--storage-errors", type=float, default=0.0)
    parser.add_argument("--keep-log", type=Path, help="write the server's log here in the end")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with STACKS[asked.stack](folder, storage_errors=asked.storage_errors, seed=asked.seed, tell=_tell) as stack:
            if unknown := set(asked.only) - set(stack.faults):
                parser.error(
                    f"no such faults here: {', '.join(sorted(unknown))}. There are: {', '.join(sorted(stack.faults))}"
                )
            try:
                outcome = run(
                    stack,
                    folder,
                    cycles=asked.cycles,
                    senders=asked.senders,
                    seed=asked.seed,
                    only=asked.only,
                    tell=_tell,
                )
            finally:
                if asked.keep_log:
                    asked.keep_log.write_bytes((stack.data / "up.log").read_bytes())
    print(_sentence(outcome))
    sys.exit(0 if outcome.is_clean else 1)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _sentence(outcome: Outcome) -> str:
    seen = outcome.seen
    faults = ", ".join(f"{count} x {name}" for name, count in sorted(outcome.faults.items()))
    return "\n".join(
        (
            f"{sum(outcome.faults.values())} faults: {faults}; {outcome.breaks} requests broke.",
            f"{outcome.uploads} uploads acknowledged: {len(outcome.lost)} lost, {len(outcome.changed)} changed, {outcome.extra} films too many,"
            f" {len(outcome.unready)} not ready.",
            f"The viewer had {seen.answers} answers, {len(seen.wrong)} of them wrong and {seen.busy} that storage or a new session was not to be had;"
            f" {seen.breaks} lines broke.",
            *sorted(set(seen.wrong))[:20],
            f"fsck: {len(outcome.differences)} differences.",
            *(json.dumps(difference) for difference in outcome.differences[:20]),
        )
    )


if __name__ == "__main__":
    main()
