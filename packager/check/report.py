"""What the checker says: the rules it knows, findings, the report.

A rule's number is its place in the house's list; `source` cites RFC 8216 (R), draft rfc8216bis (B) or Apple's authoring specification of 2025-06
(A). MUST and SHOULD are those documents' own words; a promise that is only ours is a SHOULD.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Severity = Literal["must", "should"]


@dataclass(frozen=True, slots=True)
class Rule:
    number: int
    severity: Severity
    source: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: `where` is a file, with a line or a time where that helps."""

    rule: int
    severity: Severity
    where: str
    message: str
    source: str


@dataclass(slots=True)
class CheckReport:
    """All findings, MUST first, and what was measured on the way."""

    findings: list[Finding]
    facts: dict[str, Any]


@dataclass(slots=True)
class Findings:
    """Collects findings; a fault that repeats in one file is told `limit` times and then counted.

    `waived` are the numbers of rules that were broken and need not be kept.
    """

    limit: int = 5
    waived: set[int] = field(default_factory=set)
    _found: dict[tuple[str, str, str], list[Finding]] = field(default_factory=dict)

    def add(self, rule: str, where: str, message: str, at: str = "") -> None:
        known = RULES[rule]
        place = f"{where}{at and ' '}{at}"
        same = self._found.setdefault((rule, where, ""), [])
        same.append(Finding(known.number, known.severity, place, message, known.source))

    def waive(self, rules: Collection[str]) -> None:
        """Take back what was found of rules that do not bind this package."""
        for found in [found for found in self._found if found[0] in rules]:
            self.waived.add(RULES[found[0]].number)
            del self._found[found]

    def names(self, rules: Collection[str]) -> bool:
        """Any of these rules is broken."""
        return any(rule in rules for rule, _, _ in self._found)

    def listed(self) -> list[Finding]:
        shown: list[Finding] = []
        for (_, where, _), same in self._found.items():
            shown += same[: self.limit]
            if len(same) > self.limit:
                first, more = same[0], len(same) - self.limit
                shown.append(Finding(first.rule, first.severity, where, f"and {more} more of the same", first.source))
        return sorted(shown, key=lambda finding: (finding.severity, finding.rule))


def _must(number: int, source: str) -> Rule:
    return Rule(number, "must", source)


def _should(number: int, source: str) -> Rule:
    return Rule(number, "should", source)


RULES: Final[dict[str, Rule]] = {
    "extm3u": _must(1, "RFC 8216 §4.3.1.1"),
    "utf8": _must(1, "RFC 8216 §4.1"),
    "version": _must(2, "RFC 8216 §7"),
    "one-version": _must(2, "RFC 8216 §4.3.1.2"),
    "once": _must(3, "RFC 8216 §4.3.3"),
    "mixed": _must(3, "RFC 8216 §4.1"),
    "attributes": _must(3, "RFC 8216 §4.2"),
    "target": _must(4, "RFC 8216 §4.3.3.1"),
    "extinf": _must(5, "RFC 8216 §4.3.2.1"),
    "too-long": _must(6, "RFC 8216 §4.3.3.1, Apple 7.7"),
    "vod": _must(7, "Apple 8.6"),
    "event": _must(7, "RFC 8216 §4.3.3.5, §6.2.1"),
    "endlist": _must(7, "RFC 8216 §4.3.3.4"),
    "endlist-last": _should(7, "house rule 7; RFC 8216 §4.3.3.4 allows it anywhere"),
    "map": _must(8, "Apple 8.20, RFC 8216 §3.3"),
    "segment-format": _must(8, "RFC 8216 §3.3, §4.3.2.5"),
    "range": _must(9, "RFC 8216 §4.3.2.2"),
    "missing": _must(9, "RFC 8216 §6.2.1"),
    "key-uri": _must(10, "RFC 8216 §4.3.2.4"),
    "discontinuity": _must(11, "RFC 8216 §4.3.2.3, Apple 2.11, 8.13, 8.14"),
    "same-discontinuities": _must(11, "Apple 8.15"),
    "target-6": _should(12, "Apple 7.5"),
    "nominal-6": _should(12, "Apple 7.6"),
    "same-target": _must(13, "Apple 8.2, RFC 8216 §6.2.4"),
    "extinf-sum": _must(14, "Apple 8.1"),
    "tfdt": _must(15, "Apple 7.1, 7.3"),
    "idr": _must(16, "Apple 7.4"),
    "sync-flag": _must(16, "ISO/IEC 14496-12 §8.8.3.1"),
    "idr-distance": _should(16, "Apple 1.13"),
    "sample-entry": _should(16, "Apple 1.10"),
    "boundaries": _should(17, "Apple 8.22"),
    "same-range": _must(18, "Apple 8.3, 8.7, RFC 8216 §6.2.4"),
    "priming": _must(19, "ISO/IEC 23000-19 §7.5.13"),
    "negative-time": _must(19, "ISO/IEC 14496-12 §8.8.12"),
    "h264-level": _must(20, "Apple 1.3b"),
    "h264-high": _should(20, "Apple 1.4"),
    "fmp4-only": _must(21, "Apple 1.5, 1.39"),
    "sixty": _must(22, "Apple 1.19"),
    "natural-rate": _should(22, "Apple 1.18"),
    "interlaced": _must(22, "Apple 1.14"),
    "sdr": _must(23, "Apple 1.24"),
    "one-colour": _should(23, "Apple 1.21"),
    "one-aspect": _should(23, "Apple 1.33"),
    "stereo": _must(24, "Apple 2.3"),
    "stereo-rate": _should(24, "Apple 2.9"),
    "one-audio": _must(24, "Apple 2.17"),
    "variant-attributes": _must(25, "Apple 9.1, 9.2, 9.14, 9.15"),
    "codecs": _must(25, "RFC 8216 §4.3.4.2, RFC 6381"),
    "resolution": _must(25, "RFC 8216 §4.3.4.2"),
    "frame-rate": _must(25, "RFC 8216 §4.3.4.2"),
    "bandwidth": _must(26, "RFC 8216 §4.1, §4.3.4.2, Apple 9.13"),
    "bandwidth-10": _must(27, "Apple 1.27"),
    "average-10": _must(28, "Apple 1.26"),
    "peak-200": _should(28, "Apple 1.30"),
    "video-range": _must(29, "Apple 9.16"),
    "independent": _should(30, "Apple 9.11"),
    "independent-media": _must(30, "Apple 9.12"),
    "several": _must(31, "Apple 9.9"),
    "two-at-top": _should(31, "Apple 9.10"),
    "first-variant": _should(32, "Apple 1.32"),
    "cellular": _should(33, "Apple 9.21, a MUST on cellular networks"),
    "cellular-audio": _should(33, "house rule 33"),
    "ladder": _should(34, "Apple 1.25"),
    "media-attributes": _must(35, "RFC 8216 §4.3.4.1"),
    "group": _must(35, "RFC 8216 §4.3.4.2.1"),
    "unique-name": _must(35, "RFC 8216 §4.3.4.1.1"),
    "one-default": _must(35, "RFC 8216 §4.3.4.1.1"),
    "language": _must(35, "Apple 8.10"),
    "same-renditions": _must(35, "RFC 8216 §4.3.4.1.1"),
    "channels": _should(35, "RFC 8216 §4.3.4.1"),
    "separate-audio": _should(36, "Apple 9.5"),
    "separate-alternatives": _must(36, "Apple 9.6, 9.7"),
    "iframes": _must(37, "Apple 6.1"),
    "iframe-attributes": _must(37, "Apple 9.3, 9.4"),
    "iframes-only": _must(37, "Apple 6.8, RFC 8216 §4.3.4.3"),
    "iframe-range": _must(37, "Apple 6.10, RFC 8216 §4.3.3.6"),
    "timestamp-map": _must(38, "Apple 5.3, RFC 8216 §3.5"),
    "webvtt": _must(38, "RFC 8216 §3.5"),
    "text-range": _must(38, "Apple 5.5"),
    "cue-place": _must(38, "RFC 8216 §3.5"),
    "wvtt": _should(38, "house rule 38; Apple 5.10 allows it"),
    "captions": _must(39, "Apple 4.3, 4.4"),
    "captions-none": _must(39, "RFC 8216 §4.3.4.2"),
    "captions-said": _should(39, "house rule 39"),
    "encryption": _should(40, "house rule 40"),
    "pattern": _must(40, "Apple 13.7"),
    "gzip": _must(41, "Apple 10.1"),
    "mime": _should(42, "Apple 10.4"),
    "cors": _should(42, "Fetch standard: scripts read media across origins"),
    "redirect": _must(43, "Apple 8.18"),
    "map-key": _must(44, "RFC 8216 §4.3.2.5"),
    "iv": _should(44, "house rule 44, RFC 8216 §5.2"),
    "decrypt": _must(44, "RFC 8216 §4.3.2.4, §5.2"),
}
