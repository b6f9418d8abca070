"""One pass over a media playlist's segments: what its media really are, kept as a few numbers per segment.

Rules that one track can break alone are tested here (8, 9, 11, 15, 16, 19, 22, 24, 36, 39, 40, 44); the rest compare the measures of several.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from typing import Final, Literal

from packager.check import samples, webvtt
from packager.check.playlists import MediaList, Segment
from packager.check.reader import Clear, Reader
from packager.check.report import Findings
from packager.fmp4_read import FragmentFacts, InitFacts, SegmentFacts, TrackFacts, read_segment
from packager.mp4_boxes import Mp4Error

Kind = Literal["video", "audio", "text", "other"]

_FFMPEG_IDENT: Final = b"Lavc"
_HALF_OF_64_BITS: Final = 1 << 63


@dataclass(slots=True)
class Measure:
    """A media playlist as its bytes are. Times in seconds; `starts`, `lasts` and `sizes` (bytes on the wire) run over segments that could be read."""

    where: str
    playlist: MediaList
    kind: Kind = "other"
    tracks: tuple[TrackFacts, ...] = ()
    starts: list[Fraction] = field(default_factory=list)
    lasts: list[Fraction] = field(default_factory=list)
    sizes: list[tuple[int, Fraction]] = field(default_factory=list)
    first_shown: Fraction | None = None
    samples: int = 0
    longest: Fraction = Fraction(0)
    shortest: Fraction = Fraction(0)
    captions: bool = False
    encrypted: bool = False

    @property
    def main(self) -> TrackFacts | None:
        """The track that counts: video before audio."""
        return min(self.tracks, key=lambda track: track.handler != "vide", default=None)

    @property
    def tick(self) -> Fraction:
        return Fraction(1, self.main.timescale) if self.main else Fraction(1, 1000)

    @property
    def seconds(self) -> Fraction:
        return sum(self.lasts, Fraction(0))

    @property
    def frame(self) -> Fraction:
        """The mean frame duration."""
        return self.seconds / self.samples if self.samples else Fraction(0)

    @property
    def bounds(self) -> list[Fraction]:
        """Where segments start and the last one ends. After a discontinuity timestamps say nothing, so durations are added up."""
        if any(segment.discontinuity for segment in self.playlist.segments[1:]):
            return list(accumulate(self.lasts, initial=self.starts[0])) if self.starts else []
        return [*self.starts, self.starts[-1] + self.lasts[-1]] if self.starts else []


def measure(reader: Reader, reference: str, playlist: MediaList, origin: Fraction = Fraction(0)) -> Measure:
    """Read every segment once, one at a time. `origin` is the media time, in seconds, at which text begins."""
    found = Measure(playlist.where, playlist)
    walk = _Walk(found, reader.findings, text_start=origin)
    for segment in playlist.segments:
        init = reader.init(reference, segment.map) if segment.map else None
        clear = reader.segment(reference, segment)
        if clear is not None:
            found.encrypted |= segment.key is not None
            _examine(walk, segment, init, clear)
    return found


@dataclass(slots=True)
class _Walk:
    """What carries over from one segment to the next: per track where it must go on, when its last key frame was, its frame duration."""

    found: Measure
    findings: Findings
    init: InitFacts | None = None
    expected: dict[int, int] = field(default_factory=dict)
    last_key: Fraction | None = None
    uniform: int = 0
    text_start: Fraction = Fraction(0)


def _examine(walk: _Walk, segment: Segment, init: InitFacts | None, clear: Clear) -> None:
    found = walk.found
    found.sizes.append((clear.size, segment.duration))
    if _is_text(clear.data):
        found.kind = "text"
        webvtt.check(clear.data, f"{found.where}: {segment.uri}", walk.text_start, segment.duration, walk.findings)
    elif segment.map is None and clear.data[4:8] in (b"styp", b"moof", b"ftyp", b"sidx"):
        walk.findings.add("map", found.where, f"{segment.uri} is fMP4 and no EXT-X-MAP stands above it")
    elif init is not None:
        _fmp4(walk, segment, init, clear.data)
    walk.text_start += segment.duration


def _is_text(data: bytes) -> bool:
    return data.removeprefix(b"\xef\xbb\xbf")[:6] == b"WEBVTT"


def _fmp4(walk: _Walk, segment: Segment, init: InitFacts, data: bytes) -> None:
    found = walk.found
    try:
        facts = read_segment(data, init)
        _new_init(walk, segment, init)
        if not facts.fragments:
            raise Mp4Error("it has no moof")
        for track in init.tracks:
            _track(walk, segment, track, facts, data)
    except Mp4Error as error:
        encrypted = segment.key is not None
        hint = " (a wrong key or IV gives such bytes)" if encrypted else ""
        walk.findings.add(
            "decrypt" if encrypted else "segment-format",
            found.where,
            f"{segment.uri} is no fMP4 segment: {error}{hint}",
        )


def _new_init(walk: _Walk, segment: Segment, init: InitFacts) -> None:
    """Rule 11: another init may only say the same, unless a discontinuity announces it."""
    found = walk.found
    if walk.init is None:
        found.tracks = init.tracks
        found.kind = _kind(init)
        samples.check_tracks(found.where, init, walk.findings)
    elif not segment.discontinuity and _signature(init) != _signature(walk.init):
        message = (
            f"{segment.uri} has other codecs, tracks or sizes than the segment before, without EXT-X-DISCONTINUITY"
        )
        walk.findings.add("discontinuity", found.where, message, f"line {segment.line}")
    if segment.discontinuity:
        walk.expected.clear()
        walk.last_key, walk.uniform = None, 0
    walk.init = init


def _kind(init: InitFacts) -> Kind:
    handlers = {track.handler for track in init.tracks}
    return "video" if "vide" in handlers else "audio" if "soun" in handlers else "other"


def _signature(init: InitFacts) -> list[tuple[object, ...]]:
    return [
        (
            t.id,
            t.handler,
            t.timescale,
            t.entry.codecs,
            t.entry.width,
            t.entry.height,
            t.entry.channels,
            t.entry.sample_rate,
        )
        for t in init.tracks
    ]


def _track(walk: _Walk, segment: Segment, track: TrackFacts, facts: SegmentFacts, data: bytes) -> None:
    found, fragments = walk.found, [part for part in facts.fragments if part.track == track.id and part.durations]
    if not fragments:
        walk.findings.add("segment-format", found.where, f"{segment.uri} holds nothing of track {track.id}")
        return
    for part in fragments:
        _continuity(walk, segment, track, part)
    if track.handler == "vide":
        _key_frames(walk, segment, track, fragments, data)
    elif track.handler == "soun" and found.first_shown is None:
        _priming(walk, segment, track, fragments[0], data)
    if track is found.main or track.id == (found.main.id if found.main else None):
        _times(walk, segment, track, fragments)


def _continuity(walk: _Walk, segment: Segment, track: TrackFacts, part: FragmentFacts) -> None:
    """Rule 15; a jump longer than a segment breaks rule 11 as well."""
    expected = walk.expected.get(track.id)
    if part.tfdt >= _HALF_OF_64_BITS:
        walk.findings.add("negative-time", walk.found.where, f"{segment.uri} has a negative decode time")
    elif expected is not None and part.tfdt != expected:
        off = float(Fraction(part.tfdt - expected, track.timescale))
        message = f"{segment.uri} decodes at {part.tfdt}, {off:+g} s from where the fragment before ended ({expected})"
        walk.findings.add("tfdt", walk.found.where, message)
        if abs(off) > max(walk.found.playlist.target, 1):
            message = f"timestamps jump by {off:g} s at {segment.uri} without EXT-X-DISCONTINUITY"
            walk.findings.add("discontinuity", walk.found.where, message)
    walk.expected[track.id] = part.tfdt + part.duration


def _key_frames(walk: _Walk, segment: Segment, track: TrackFacts, fragments: list[FragmentFacts], data: bytes) -> None:
    """Rules 16 and 39: an IDR first, flags that tell the truth, IDRs two seconds apart; 608/708 captions among the SEI."""
    found, encrypted = walk.found, track.entry.protection is not None
    if not fragments[0].keys[0]:
        walk.findings.add("idr", found.where, f"{segment.uri} does not start with a sync sample")
    for part in fragments:
        scan = samples.scan(part, data, track.entry) if not encrypted else samples.flags_only(part)
        found.captions |= scan.captions
        if part is fragments[0] and not scan.idr[0] and part.keys[0]:
            walk.findings.add("idr", found.where, f"{segment.uri} starts with a picture that is no IDR")
        for wrong in (
            at for at, (idr, key) in enumerate(zip(scan.idr, part.keys, strict=True)) if key and not idr and at
        ):
            walk.findings.add(
                "sync-flag", found.where, f"{segment.uri}: sample {wrong} is marked as a key frame and is no IDR"
            )
        if scan.parameter_sets:
            walk.findings.add(
                "sample-entry",
                found.where,
                f"{segment.uri} repeats parameter sets inside samples of {track.entry.kind}",
            )
        _distance(walk, track, part)


def _distance(walk: _Walk, track: TrackFacts, part: FragmentFacts) -> None:
    decode = accumulate(part.durations[:-1], initial=part.tfdt)
    for time, key, duration in zip(decode, part.keys, part.durations, strict=True):
        if not key:
            continue
        at = Fraction(time, track.timescale)
        gap = at - walk.last_key if walk.last_key is not None else Fraction(0)
        if gap > 2 + Fraction(2 * duration, track.timescale):
            walk.findings.add(
                "idr-distance", walk.found.where, f"{float(gap):g} s without an IDR before {float(at):g} s"
            )
        walk.last_key = at


def _priming(walk: _Walk, segment: Segment, track: TrackFacts, part: FragmentFacts, data: bytes) -> None:
    """Rule 19: FFmpeg signs the first packet it makes, which is priming; an edit list must then pass over it."""
    first = data[part.offsets[0] : part.offsets[0] + min(part.sizes[0], 64)]
    if _FFMPEG_IDENT in first and not track.media_time:
        message = f"{segment.uri} starts with the encoder's priming, which no edit list passes over"
        walk.findings.add("priming", walk.found.where, message)


def _times(walk: _Walk, segment: Segment, track: TrackFacts, fragments: list[FragmentFacts]) -> None:
    """Numbers of the main track that later rules compare."""
    found, scale = walk.found, track.timescale
    edit = track.media_time or 0
    if found.first_shown is None:
        found.first_shown = Fraction(min(fragments[0].presentations) - edit, scale)
        if found.first_shown < 0:
            message = f"the first frame would be shown at {float(found.first_shown):g} s"
            walk.findings.add("negative-time", found.where, message)
    durations = [duration for part in fragments for duration in part.durations]
    found.starts.append(Fraction(fragments[0].tfdt, scale))
    found.lasts.append(Fraction(sum(durations), scale))
    found.samples += len(durations)
    shortest = min((duration for duration in durations if duration), default=0)
    found.longest = max(found.longest, Fraction(max(durations), scale))
    found.shortest = min(found.shortest or Fraction(shortest, scale), Fraction(shortest, scale))
    if track.handler == "vide":
        _rates(walk, segment, track, durations)


def _rates(walk: _Walk, segment: Segment, track: TrackFacts, durations: list[int]) -> None:
    """Rules 22 and 11: at most 60 pictures a second, and one rate until a discontinuity. Uneven durations are a variable rate, which may vary."""
    seconds = Fraction(sum(durations), track.timescale)
    if len(durations) > 1 and len(durations) > seconds * 60 * Fraction(101, 100):
        rate = float(len(durations) / seconds) if seconds else 0.0
        walk.findings.add("sixty", walk.found.where, f"{segment.uri} has {rate:.2f} frames/s")
    uniform = durations[0] if len(durations) > 2 and len(set(durations[:-1])) == 1 else 0
    if uniform and walk.uniform and abs(uniform - walk.uniform) * 100 > walk.uniform:
        before, after = track.timescale / walk.uniform, track.timescale / uniform
        message = f"{segment.uri} goes from {before:.3f} to {after:.3f} frames/s without EXT-X-DISCONTINUITY"
        walk.findings.add("discontinuity", walk.found.where, message)
    walk.uniform = uniform
