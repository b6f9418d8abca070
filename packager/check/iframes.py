"""Rule 37: I-frame playlists, each range read and looked into. Ranges are small; a film costs one request per key frame and rung."""

from __future__ import annotations

from fractions import Fraction

from packager.bandwidth import average, peak
from packager.check import samples
from packager.check.entry import Entry, Stream
from packager.check.measure import Measure
from packager.check.playlists import MediaList, Segment
from packager.check.reader import Reader
from packager.check.report import Findings
from packager.fmp4_read import InitFacts, read_first_moof
from packager.mp4_boxes import Mp4Error


def check_listed(entry: Entry, films: bool, findings: Findings) -> None:
    """What the multivariant playlist says of I-frame streams; `films` tells whether there is video at all."""
    if films and not entry.iframes:
        findings.add(
            "iframes",
            entry.where,
            "there is no EXT-X-I-FRAME-STREAM-INF, so players cannot show pictures while scrubbing",
        )
    for stream in entry.iframes:
        for name in ("BANDWIDTH", "CODECS", "RESOLUTION", "URI"):
            if name not in stream.attributes:
                message = f"EXT-X-I-FRAME-STREAM-INF has no {name}"
                findings.add("iframe-attributes", entry.where, message, f"line {stream.line}")


def check(
    reader: Reader, entry: Entry, stream: Stream, reference: str, playlist: MediaList, film: Measure | None
) -> None:
    """Read every range of one I-frame playlist; `film` is a video track of the package to compare times with."""
    findings = reader.findings
    if not playlist.iframes_only:
        findings.add("iframes-only", playlist.where, "EXT-X-I-FRAMES-ONLY is missing")
    at = film.starts[0] if film and film.starts else Fraction(0)
    frame = film.longest if film else Fraction(1)
    sizes: list[tuple[int, Fraction]] = []
    for segment in playlist.segments:
        data = reader.iframe(reference, segment)
        init = reader.init(reference, segment.map) if segment.map else None
        if data is not None:
            sizes.append((len(data), segment.duration))
            if init is not None:
                _check_range(playlist, segment, data, init, at, frame, findings)
        at += segment.duration
    _check_codecs(reader, entry, stream, reference, playlist)
    _check_rates(entry, stream, sizes, playlist.target or 6, findings)
    if film and abs(playlist.seconds - film.seconds) > frame and not film.playlist.growing:
        message = f"it lasts {float(playlist.seconds):.3f} s, {film.where} {float(film.seconds):.3f} s"
        findings.add("same-range", playlist.where, message)


def _check_range(
    playlist: MediaList,
    segment: Segment,
    data: bytes,
    init: InitFacts,
    at: Fraction,
    frame: Fraction,
    findings: Findings,
) -> None:
    """`moof`, mdat header and a whole IDR, at the time the playlist says."""
    place = f"line {segment.line}"
    try:
        part, behind = read_first_moof(data, init)
        track = next((track for track in init.tracks if track.id == part.track), init.tracks[0])
        end = part.offsets[0] + part.sizes[0] if part.sizes else 0
        whole = behind == "mdat" and part.sizes and end <= len(data)
        key = whole and samples.starts_with_key(part, data, track.entry)
    except Mp4Error as error:
        message = f"the range in {segment.uri} holds no moof with its frame: {error}"
        findings.add("iframe-range", playlist.where, message, place)
        return
    if not whole:
        message = f"the range in {segment.uri} has {len(data)} bytes and ends before its frame does (at {end})"
        findings.add("iframe-range", playlist.where, message, place)
    elif not key:
        findings.add("iframe-range", playlist.where, f"the range in {segment.uri} holds no key frame", place)
    elif abs(Fraction(part.tfdt, track.timescale) - at) > frame:
        real = float(Fraction(part.tfdt, track.timescale))
        message = f"the frame of {real:.3f} s stands at {float(at):.3f} s"
        findings.add("iframe-range", playlist.where, message, place)


def _check_codecs(reader: Reader, entry: Entry, stream: Stream, reference: str, playlist: MediaList) -> None:
    first = next((segment.map for segment in playlist.segments if segment.map), None)
    init = reader.init(reference, first) if first else None
    said = stream.attributes.get("CODECS")
    if init is None or said is None:
        return
    real = ",".join(track.entry.codecs for track in init.tracks if track.handler == "vide")
    if said.lower() != real.lower():
        message = f'the I-frame stream {stream.label} says CODECS="{said}", its init segment "{real}"'
        reader.findings.add("codecs", entry.where, message)
    track = next((track for track in init.tracks if track.handler == "vide"), None)
    size = f"{track.entry.width}x{track.entry.height}" if track and track.entry.pixel_aspect == (1, 1) else ""
    if size and stream.attributes.get("RESOLUTION", size) != size:
        message = (
            f"the I-frame stream {stream.label} says RESOLUTION={stream.attributes['RESOLUTION']}, its init {size}"
        )
        reader.findings.add("resolution", entry.where, message)


def _check_rates(
    entry: Entry, stream: Stream, sizes: list[tuple[int, Fraction]], target: int, findings: Findings
) -> None:
    said, real = stream.number("BANDWIDTH"), peak(sizes, target)
    if said and said < real:
        message = f"the I-frame stream {stream.label} says BANDWIDTH={said}, the measured peak is {real}"
        findings.add("bandwidth", entry.where, message)
    if said and real and abs(said - real) * 10 > real:
        message = f"the I-frame stream {stream.label}: BANDWIDTH={said} is {said / real - 1:+.0%} from {real}"
        findings.add("bandwidth-10", entry.where, message)
    said, mean = stream.number("AVERAGE-BANDWIDTH"), average(sizes)
    if said and mean and abs(said - mean) * 10 > mean:
        message = f"the I-frame stream {stream.label}: AVERAGE-BANDWIDTH={said} is {said / mean - 1:+.0%} from {mean}"
        findings.add("average-10", entry.where, message)
