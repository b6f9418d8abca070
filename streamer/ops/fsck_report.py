"""What an operator sees of `streamer fsck`: a line for each difference, where it is on a terminal, a sum at the end."""

from __future__ import annotations

import json

from streamer.ops import fsck
from streamer.ops.fsck import Difference
from streamer.ops.terminal import Where
from streamer.services import Services


def run(services: Services, *, repair: bool, hashes: bool, settled_s: float, as_json: bool) -> int:
    """Print each difference as it is found and mend it if asked; how many stay."""
    found = mended = 0
    where = Where()
    for difference in fsck.check(services, hashes=hashes, settled_s=settled_s, progress=where.tell):
        found += 1
        done = repair and difference.repair is not None
        if done:
            assert difference.repair
            difference.repair()
        mends = repair and bool(difference.mend)
        mended += mends
        where.clear()
        print(_json(difference, mends) if as_json else _line(difference, repair), flush=True)
    where.clear()
    if not as_json:
        print(f"{found} differences, {mended} of them mended." if repair else f"{found} differences.")
    return found - mended


def _line(difference: Difference, repair: bool) -> str:
    follow = difference.mend or "this needs a person"
    tail = (
        f"Mended: {follow}."
        if repair and difference.mend
        else f"With --repair {follow}."
        if difference.mend
        else f"{follow.capitalize()}."
    )
    return f"{difference.kind:20} {difference.subject}  {difference.detail} {tail}"


def _json(difference: Difference, mended: bool) -> str:
    fields = {"kind": difference.kind, "subject": difference.subject, "detail": difference.detail, "mended": mended}
    return json.dumps({**fields, "repairable": bool(difference.mend)})
