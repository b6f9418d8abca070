"""Rules 12 to 14, 17 and 18: what all tracks of a package must have in common in time. Sums are exact fractions of seconds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate

from packager.check.measure import Measure
from packager.check.report import Findings


def check(measures: Sequence[Measure], findings: Findings) -> None:
    """`measures` are all video, audio and text playlists of a package, I-frame lists not among them."""
    heard = [measure for measure in measures if measure.kind in ("video", "audio") and measure.starts]
    _check_targets([m for m in measures if m.kind != "text"], findings)
    _check_discontinuities(measures, findings)
    if not heard:
        return
    reference = min(heard, key=lambda measure: measure.kind != "video")
    frame = max((m.frame for m in heard if m.kind == "video"), default=reference.frame)
    for measure in heard:
        _check_sums(measure, min(frame, measure.frame) if measure.kind == "video" else frame, findings)
        if measure is not reference:
            _check_bounds(measure, reference, findings)
            _check_range(measure, reference, findings)
    for measure in measures:
        if measure.kind == "text":
            _check_text(measure, reference, findings)


def _check_targets(measures: Sequence[Measure], findings: Findings) -> None:
    targets = {measure.playlist.target for measure in measures if measure.playlist.target}
    if len(targets) > 1:
        message = f"target durations differ: {', '.join(map(str, sorted(targets)))} s"
        findings.add("same-target", "all playlists", message)
    for measure in measures:
        playlist = measure.playlist
        if playlist.target and playlist.target != 6:
            findings.add("target-6", measure.where, f"the target duration is {playlist.target} s, not 6")
        nominal = [segment.duration for segment in playlist.segments[:-1]]
        mean = sum(nominal, Fraction(0)) / len(nominal) if nominal else Fraction(6)
        if abs(mean - 6) > Fraction(1, 2):
            findings.add("nominal-6", measure.where, f"segments last {float(mean):.3f} s in the mean, not about 6")


def _check_discontinuities(measures: Sequence[Measure], findings: Findings) -> None:
    """Rule 11: discontinuities stand at the same times in all playlists."""
    if not measures:
        return
    for measure in measures[1:]:
        shared = _shared(measure, measures[0])
        known, found = _discontinuities(measures[0], shared), _discontinuities(measure, shared)
        close = len(found) == len(known) and all(
            abs(a - b) <= Fraction(1, 2) for a, b in zip(found, known, strict=True)
        )
        if not close:
            message = f"EXT-X-DISCONTINUITY stands at {_times(found)} here, at {_times(known)} in {measures[0].where}"
            findings.add("same-discontinuities", measure.where, message)


def _may_grow(one: Measure, other: Measure, off: Fraction) -> bool:
    """`one` is longer than `other` by `off` seconds, and the shorter one is not at its end. Playlists that grow are never read at the same moment."""
    return (other if off > 0 else one).playlist.growing


def _shared(one: Measure, other: Measure) -> Fraction | None:
    """Up to where two playlists can be compared, less the half second by which renditions are cut apart; None if to their ends."""
    growing = one.playlist.growing or other.playlist.growing
    return min(one.playlist.seconds, other.playlist.seconds) - Fraction(1, 2) if growing else None


def _discontinuities(measure: Measure, until: Fraction | None) -> list[Fraction]:
    segments = measure.playlist.segments
    starts = accumulate((segment.duration for segment in segments[:-1]), initial=Fraction(0))
    times = (at for at, segment in zip(starts, segments, strict=False) if segment.discontinuity and at)
    return [at for at in times if until is None or at < until]


def _times(times: Sequence[Fraction]) -> str:
    return ", ".join(f"{float(time):.3f} s" for time in times) or "no time"


def _check_sums(measure: Measure, frame: Fraction, findings: Findings) -> None:
    """Rule 14 for every contiguous set at once: the spread of (EXTINFs so far - real time so far)."""
    if len(measure.lasts) != len(measure.sizes):
        return  # a segment could not be read, which is said elsewhere
    drift = list(
        accumulate(
            (said - real for (_, said), real in zip(measure.sizes, measure.lasts, strict=True)), initial=Fraction(0)
        )
    )
    spread = max(drift) - min(drift)
    if spread > frame:
        message = f"EXTINFs are off by up to {float(spread):.6f} s over contiguous segments, a video frame is {float(frame):.6f} s"
        findings.add("extinf-sum", measure.where, message)


def _check_bounds(measure: Measure, reference: Measure, findings: Findings) -> None:
    """Rule 17: video to the tick, audio to the frame."""
    slack = max(measure.tick, reference.tick) if measure.kind == "video" else measure.frame
    known, found = reference.bounds, measure.bounds
    behind = _may_grow(measure, reference, measure.seconds - reference.seconds)
    if measure.kind == "video" and len(found) != len(known) and not behind:
        message = f"it has {len(found) - 1} segments, {reference.where} has {len(known) - 1}"
        findings.add("boundaries", measure.where, message)
    for at in found[1:-1]:
        if behind and at > known[-1]:
            break
        near = bisect_left(known, at)
        if min((abs(at - time) for time in known[max(0, near - 1) : near + 1]), default=Fraction(0)) > slack:
            message = f"a segment starts at {float(at):.6f} s, where none of {reference.where} does"
            findings.add("boundaries", measure.where, message)


def _check_range(measure: Measure, reference: Measure, findings: Findings) -> None:
    """Rule 18: the same first timestamp and the same end, within one frame where frames differ."""
    if measure.first_shown is None or reference.first_shown is None:
        return
    same_kind = measure.kind == reference.kind == "video"
    slack = max(measure.tick, reference.tick) if same_kind else measure.frame
    if abs(measure.first_shown - reference.first_shown) > slack:
        message = f"it starts at {float(measure.first_shown):.6f} s, {reference.where} at {float(reference.first_shown):.6f} s"
        findings.add("same-range", measure.where, message)
    off = measure.seconds - reference.seconds
    if abs(off) > max(measure.longest, reference.longest, slack) and not _may_grow(measure, reference, off):
        message = f"it lasts {float(measure.seconds):.3f} s, {reference.where} {float(reference.seconds):.3f} s"
        findings.add("same-range", measure.where, message)


def _check_text(measure: Measure, reference: Measure, findings: Findings) -> None:
    """Rule 38: subtitles exist for the whole film, even where nobody speaks."""
    short = reference.seconds - measure.playlist.seconds
    if abs(short) > max(reference.longest, Fraction(1, 100)) and not _may_grow(reference, measure, short):
        message = (
            f"its playlist lasts {float(measure.playlist.seconds):.3f} s, the film {float(reference.seconds):.3f} s"
        )
        findings.add("text-range", measure.where, message)
