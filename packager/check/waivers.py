"""Rules that some packages are free from, and how the checker knows.

A film in the making has EVENT playlists, which only grow (RFC 8216 §4.3.3.5). They keep that type when they end (§6.2.1), and their entry playlist is
never written again, so what it could not know at the first segment it does not know at the last either: `EVENT` holds for both. What a playlist
lacks only until it has grown is no matter of waivers: the rules about ends and lengths look at `MediaList.growing`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from packager.check.fetch import Missing, Source
from packager.check.measure import Measure
from packager.passthrough import TAKEN

EVENT: Final = frozenset(
    {
        # BANDWIDTH is the most that the encoder's buffer allows, since there is nothing to measure yet. Rule 26 stays: it is never below the peak.
        "bandwidth-10",
        "average-10",
        "peak-200",
        # Which variant is nearest to 2000 kb/s, and what a rung spends, is known of a whole film only.
        "first-variant",
        "ladder",
        # What comes first is one rung with one audio group: whoever waits wants pictures, not a choice.
        "several",
        "two-at-top",
        "cellular",
        "cellular-audio",
        # I-frame playlists belong to the final set; those that are named all the same are read and tested.
        "iframes",
    }
)
# The upload's own picture stands for both variants of the top size. That there are several variants at all is still asked for.
PASSED_THROUGH: Final = frozenset({"two-at-top"})
_REPORT: Final = "report.json"


def is_event(measures: Sequence[Measure]) -> bool:
    """A film in the making, or one that was made while it could be watched: something grows, or sound and picture are all EVENT playlists."""
    types = {measure.playlist.type for measure in measures if measure.kind != "text"}
    return types == {"EVENT"} or any(measure.playlist.growing for measure in measures)


def is_passed_through(source: Source) -> bool:
    """`report.json` beside the entry playlist says so. Nothing in the bytes could, and a server need not show it: then the rule stays."""
    try:
        report = json.loads(source.get(source.resolve(source.entry, _REPORT)).data)
    except (Missing, ValueError, RecursionError):
        return False
    decisions = report.get("decisions") if isinstance(report, dict) else None
    return isinstance(decisions, list) and TAKEN in decisions
