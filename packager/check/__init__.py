"""The conformance checker: a published package against RFC 8216 and Apple's authoring specification, on its bytes alone.

`check` reads a folder, an object store or a server as a player does: the entry playlist, every media playlist, every segment once, one at a time,
so memory does not grow with the film. Nothing of our own index or plan is trusted; the only code shared with the packager is the reading of
boxes and the arithmetic of bit rates. MPEG-TS and packed audio of other packagers are weighed, not opened; `facts` says so. Films in the making
(give the stage's entry playlist) and passed-through ones are judged by what holds for them (see waivers.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from packager.bandwidth import average
from packager.check import iframes, timing, variants, waivers
from packager.check.entry import Entry, read_entry
from packager.check.fetch import Missing, Source, open_source
from packager.check.measure import Measure, measure
from packager.check.playlists import check_end, is_media, read_media
from packager.check.reader import Reader
from packager.check.report import RULES, CheckReport, Finding, Findings, Rule
from packager.check.variants import Variant, measured_peak

__all__ = ["RULES", "CheckReport", "Finding", "Rule", "check"]


def check(location: str) -> CheckReport:
    """Test a package: `location` is a folder, a playlist file, `s3://bucket/prefix` or the http(s) URL of a multivariant playlist.

    Never raises for what it finds: a package that is not there is a finding too.
    """
    findings = Findings()
    try:
        source = open_source(location)
    except (Missing, ValueError) as error:
        findings.add("missing", location, str(error))
        return CheckReport(findings.listed(), {})
    try:
        return _Check(source, findings).run()
    finally:
        source.close()


@dataclass(slots=True)
class _Check:
    """`measures` by URI as the entry playlist writes it; the same playlist under two variants is read once."""

    source: Source
    findings: Findings
    measures: dict[str, Measure] = field(default_factory=dict)

    def run(self) -> CheckReport:
        reader = Reader(self.source, self.findings)
        text = reader.text(self.source.entry)
        if text is None:
            return CheckReport(self.findings.listed(), {})
        where = reader.where(self.source.entry)
        if is_media(text):
            message = "this is a media playlist: give the multivariant playlist that lists the variants"
            self.findings.add("mixed", where, message)
            return CheckReport(self.findings.listed(), {})
        entry = read_entry(text, where, self.findings)
        self._measure(reader, entry)
        event = self._ends()
        assembled = variants.assemble(entry, self.measures)
        timing.check(list(self.measures.values()), self.findings)
        variants.check(entry, assembled, self.findings)
        self._iframes(reader, entry, event)
        self._waive(event)
        facts = {**_facts(self.measures, assembled), "event": event, "waived": sorted(self.findings.waived)}
        return CheckReport(self.findings.listed(), facts)

    def _measure(self, reader: Reader, entry: Entry) -> None:
        """Sound and pictures first: subtitles are placed on the time of what they belong to."""
        subtitles = [media["URI"] for media in entry.media if media["TYPE"] == "SUBTITLES" and media["URI"]]
        others = [stream.uri for stream in entry.variants] + [m["URI"] for m in variants.renditions(entry)]
        for uri in dict.fromkeys(uri for uri in [*others, *subtitles] if uri not in subtitles):
            self._measure_one(reader, uri, Fraction(0))
        origin = next((m.first_shown for m in self.measures.values() if m.first_shown is not None), Fraction(0))
        for uri in dict.fromkeys(subtitles):
            self._measure_one(reader, uri, origin)

    def _measure_one(self, reader: Reader, uri: str, origin: Fraction) -> None:
        reference = self.source.resolve(self.source.entry, uri)
        text = reader.text(reference)
        if text is not None:
            playlist = read_media(text, reader.where(reference), self.findings)
            self.measures[uri] = measure(reader, reference, playlist, origin)

    def _ends(self) -> bool:
        """Test types and ends; whether this is a film in the making, where subtitles and I-frames may be VOD lists all the same (RFC 8216 §6.2.4)."""
        event = waivers.is_event(list(self.measures.values()))
        for found in self.measures.values():
            plain = found.kind == "text" and found.playlist.type == "VOD"
            check_end(found.playlist, event and not plain, self.findings)
        return event

    def _waive(self, event: bool) -> None:
        if event:
            self.findings.waive(waivers.EVENT)
        if self.findings.names(waivers.PASSED_THROUGH) and waivers.is_passed_through(self.source):
            self.findings.waive(waivers.PASSED_THROUGH)

    def _iframes(self, reader: Reader, entry: Entry, event: bool) -> None:
        films = [found for found in self.measures.values() if found.kind == "video"]
        iframes.check_listed(entry, bool(films), self.findings)
        for stream in entry.iframes:
            reference = self.source.resolve(self.source.entry, stream.uri)
            text = reader.text(reference) if stream.uri else None
            if text is not None:
                playlist = read_media(text, reader.where(reference), self.findings)
                check_end(playlist, event and playlist.type != "VOD", self.findings)
                iframes.check(reader, entry, stream, reference, playlist, films[0] if films else None)


def _facts(measures: dict[str, Measure], assembled: list[Variant]) -> dict[str, Any]:
    """What was measured, for people and for machines: seconds and bit/s."""
    return {
        "playlists": [
            {
                "uri": uri,
                "kind": found.kind,
                "codecs": [track.entry.codecs for track in found.tracks],
                "segments": len(found.playlist.segments),
                "seconds": round(float(found.seconds or found.playlist.seconds), 6),
                "frame_rate": round(float(1 / found.frame), 3) if found.kind == "video" and found.frame else None,
                "peak_bandwidth": measured_peak(found),
                "average_bandwidth": average(found.sizes),
                "encrypted": found.encrypted,
                "opened": found.kind != "other",
            }
            for uri, found in measures.items()
        ],
        "variants": [
            {"uri": variant.stream.uri, "peak_bandwidth": variant.peak, "average_bandwidth": variant.average}
            for variant in assembled
        ],
    }
