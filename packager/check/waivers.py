"""Rules that some packages are free from, and how the checker knows.

A film in the making has EVENT playlists, which only grow (RFC 8216 §4.3.3.5). They keep that type when they end (§6.2.1), and their entry playlist is
never written again, so what it could not know at the first segment it does not know at the last either: `EVENT` holds for both. What a playlist
lacks only until it has grown is no matter of waivers: the rules about ends and lengths look at `MediaList.growing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from packager.check.measure import Measure

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


def is_event(measures: Sequence[Measure]) -> bool:
    """A film in the making, or one that was made while it could be watched: something grows, or sound and picture are all EVENT playlists."""
    types = {measure.playlist.type for measure in measures if measure.kind != "text"}
    return types == {"EVENT"} or any(measure.playlist.growing for measure in measures)
