"""Rules 20 to 36 on the package as a whole: what variants say against what their media are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from packager.bandwidth import average, peak
from packager.check.entry import Entry, Rendition, Stream
from packager.check.measure import Measure
from packager.check.report import Findings

_NATURAL: Final = tuple(
    Fraction(n, d)
    for n, d in ((24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60000, 1001), (60, 1))
)
_REFERENCE: Final = (
    (416 * 234, 145),
    (640 * 360, 365),
    (768 * 432, 1100),
    (960 * 540, 2000),
    (1280 * 720, 4500),
    (1920 * 1080, 7800),
)  # pixels, kb/s
_PQ, _HLG = 16, 18
_CELLULAR: Final = 192_000
_HD: Final = 720
_LOWEST: Final = 270  # below it Apple's ladder has no second step


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant with the measures of its own playlist and of the groups it plays with."""

    stream: Stream
    own: Measure
    audio: Sequence[Measure]
    text: Sequence[Measure]

    @property
    def parts(self) -> list[Sequence[Measure]]:
        """What plays together: one of each. Where the variant itself is sound, a rendition of its group plays instead of it."""
        if self.own.kind == "audio":
            return [[self.own, *self.audio], self.text]
        return [[self.own], self.audio, self.text]

    @property
    def peak(self) -> int:
        return sum(max((measured_peak(m) for m in group), default=0) for group in self.parts)

    @property
    def average(self) -> int:
        return sum(max((average(m.sizes) for m in group), default=0) for group in self.parts)

    @property
    def height(self) -> int:
        """The short side."""
        return min(_size(self.own)) if self.own.main else 0


def measured_peak(measure: Measure) -> int:
    return peak(measure.sizes, measure.playlist.target or 6)


def assemble(entry: Entry, measures: Mapping[str, Measure]) -> list[Variant]:
    """Variants whose playlist could be read; `measures` by URI as the entry playlist writes it."""
    return [
        Variant(
            stream,
            measures[stream.uri],
            _group(entry, stream, "AUDIO", measures),
            _group(entry, stream, "SUBTITLES", measures),
        )
        for stream in entry.variants
        if stream.uri in measures
    ]


def _group(entry: Entry, stream: Stream, kind: str, measures: Mapping[str, Measure]) -> list[Measure]:
    members = entry.group(kind, stream.attributes.get(kind, ""))
    uris = dict.fromkeys(member["URI"] for member in members if member["URI"] and member["URI"] != stream.uri)
    return [measures[uri] for uri in uris if uri in measures]


def check(entry: Entry, variants: Sequence[Variant], findings: Findings) -> None:
    """All rules of this module."""
    for variant in variants:
        _check_attributes(entry, variant, findings)
        _check_codecs(entry, variant, findings)
        _check_bandwidth(entry, variant, findings)
        _check_formats(entry, variant, findings)
    films = [variant for variant in variants if variant.own.kind == "video"]
    _check_independence(entry, films, findings)
    _check_captions(entry, variants, findings)
    _check_audio(entry, variants, findings)
    if films:
        _check_pictures(entry, films, findings)
        _check_ladder(entry, variants, films, findings)


def _check_attributes(entry: Entry, variant: Variant, findings: Findings) -> None:
    """Rule 25: what every variant must say, and that size and rate are true."""
    given, stream = variant.stream.attributes, variant.stream
    video = variant.own.kind == "video"
    for name in ("BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS", *(("RESOLUTION", "FRAME-RATE") if video else ())):
        if name not in given:
            findings.add("variant-attributes", entry.where, f"{stream.label} has no {name}")
    if not video or variant.own.main is None:
        return
    width, height = _size(variant.own)
    if given.get("RESOLUTION", f"{width}x{height}") != f"{width}x{height}":
        message = f"{stream.label} says RESOLUTION={given['RESOLUTION']}, its init segment {width}x{height}"
        findings.add("resolution", entry.where, message)
    _check_rate(entry, variant, findings)


def _size(measure: Measure) -> tuple[int, int]:
    """Width and height in square pixels."""
    main = measure.main
    if main is None:
        return 0, 0
    across, down = main.entry.pixel_aspect
    return round(main.entry.width * across / (down or 1)), main.entry.height


def _check_rate(entry: Entry, variant: Variant, findings: Findings) -> None:
    """FRAME-RATE is the largest rate: between the mean and that of the shortest frame. Natural rates and their halves are in rule 22."""
    own, said = variant.own, variant.stream.attributes.get("FRAME-RATE")
    if not own.frame or not own.shortest:
        return
    mean, largest = 1 / own.frame, 1 / own.shortest
    natural = any(abs(mean - rate / part) * 1000 < mean * 2 for rate in _NATURAL for part in (1, 2))
    if not natural and own.samples > 30:
        findings.add("natural-rate", own.where, f"{float(mean):.3f} frames/s is not a natural rate")
    try:
        rate = Fraction(said) if said else mean
    except ValueError:
        rate = Fraction(0)
    if not mean - Fraction(1, 100) * mean <= rate + Fraction(1, 1000) or rate > largest + Fraction(1, 100):
        message = (
            f"{variant.stream.label} says FRAME-RATE={said}, its samples have {float(mean):.3f} to {float(largest):.3f}"
        )
        findings.add("frame-rate", entry.where, message)


def _check_codecs(entry: Entry, variant: Variant, findings: Findings) -> None:
    """Rule 25: CODECS lists exactly what the inits of the variant and of its audio groups hold."""
    if "CODECS" not in variant.stream.attributes:
        return
    said = {codec.strip() for codec in variant.stream.attributes["CODECS"].split(",")}
    real = {track.entry.codecs for m in (variant.own, *variant.audio) for track in m.tracks}
    if "wvtt" in said:
        findings.add("wvtt", entry.where, f"{variant.stream.label} lists wvtt in CODECS; players need not know it")
    folded = {_folded(codec) for codec in said - {"wvtt"}}
    wrong = sorted(codec for codec in real if _folded(codec) not in folded)
    surplus = sorted(folded - {_folded(codec) for codec in real})
    if wrong or (surplus and real):
        message = (
            f'{variant.stream.label} says CODECS="{",".join(sorted(said))}", its media are "{",".join(sorted(real))}"'
        )
        findings.add("codecs", entry.where, message)


def _folded(codec: str) -> str:
    return codec.lower().removesuffix(".")


def _check_bandwidth(entry: Entry, variant: Variant, findings: Findings) -> None:
    """Rules 26 to 28."""
    stream, where = variant.stream, entry.where
    said, real = stream.number("BANDWIDTH"), variant.peak
    if said and said < real:
        findings.add("bandwidth", where, f"{stream.label} says BANDWIDTH={said}, the measured peak is {real}")
    if said and real and abs(said - real) * 10 > real:
        findings.add(
            "bandwidth-10", where, f"{stream.label}: BANDWIDTH={said} is {said / real - 1:+.0%} from the peak of {real}"
        )
    said, mean = stream.number("AVERAGE-BANDWIDTH"), variant.average
    if said and mean and abs(said - mean) * 10 > mean:
        findings.add(
            "average-10", where, f"{stream.label}: AVERAGE-BANDWIDTH={said} is {said / mean - 1:+.0%} from {mean}"
        )
    if mean and real > 2 * mean:
        findings.add(
            "peak-200", where, f"{stream.label}: the peak of {real} is {real / mean:.0%} of the average of {mean}"
        )


def _check_formats(entry: Entry, variant: Variant, findings: Findings) -> None:
    """Rules 21 and 29."""
    said = variant.stream.attributes
    later = [codec for codec in said.get("CODECS", "").split(",") if codec.strip()[:4] in ("hvc1", "hev1", "av01")]
    if later and any(segment.map is None for segment in variant.own.playlist.segments):
        findings.add("fmp4-only", variant.own.where, f"{later[0]} outside of fMP4")
    transfer = _transfer(variant.own)
    real = {_PQ: "PQ", _HLG: "HLG"}.get(transfer, "SDR")
    if variant.own.kind == "video" and said.get("VIDEO-RANGE", "SDR") != real:
        message = f"{variant.stream.label} says VIDEO-RANGE={said.get('VIDEO-RANGE', 'nothing')}, its transfer function is {real}"
        findings.add("video-range", entry.where, message)


def _transfer(measure: Measure) -> int:
    colour = _colour(measure)
    return colour[1] if colour else 1


def _colour(measure: Measure) -> tuple[int, ...] | None:
    """Primaries, transfer, matrix: from `colr`, else from the SPS."""
    entry = measure.main.entry if measure.main else None
    if entry is None:
        return None
    return entry.colour[:3] if entry.colour else entry.sps.colour if entry.sps else None


def _check_independence(entry: Entry, films: Sequence[Variant], findings: Findings) -> None:
    if entry.independent or not films:
        return
    findings.add("independent", entry.where, "EXT-X-INDEPENDENT-SEGMENTS is missing")
    for measure in {id(film.own): film.own for film in films}.values():
        if not measure.playlist.independent:
            message = "EXT-X-INDEPENDENT-SEGMENTS is neither here nor in the multivariant playlist"
            findings.add("independent-media", measure.where, message)


def _check_captions(entry: Entry, variants: Sequence[Variant], findings: Findings) -> None:
    """Rule 39."""
    said = [variant.stream.attributes.get("CLOSED-CAPTIONS") for variant in variants]
    if "NONE" in said and any(value != "NONE" for value in said):
        findings.add("captions-none", entry.where, "CLOSED-CAPTIONS=NONE stands on some variants and not on all")
    for variant, value in zip(variants, said, strict=True):
        declared = value not in (None, "NONE")
        if variant.own.captions and not declared:
            findings.add(
                "captions", variant.own.where, "its pictures carry 608/708 captions, which no EXT-X-MEDIA declares"
            )
        elif not variant.own.captions and value is None and variant.own.kind == "video":
            message = f"{variant.stream.label} says nothing of closed captions, so players look for them: say NONE"
            findings.add("captions-said", entry.where, message)


def _check_audio(entry: Entry, variants: Sequence[Variant], findings: Findings) -> None:
    """Rules 24, 35 and 36."""
    heard = {id(m): m for variant in variants for m in (variant.own, *variant.audio) if _audio_tracks(m)}
    if heard and not any(_is_stereo_aac(m) for m in heard.values()):
        findings.add("stereo", entry.where, "there is no stereo AAC rendition")
    for measure in heard.values():
        # Near silence AAC spends almost nothing, so what the encoder was told to spend counts when that is more.
        rate = max(average(measure.sizes), min(160_000, *(track.entry.bitrate for track in measure.tracks))) / 1000
        if measure.kind == "audio" and _is_stereo_aac(measure) and measure.seconds > 1 and not 32 <= rate <= 160:
            findings.add("stereo-rate", measure.where, f"stereo AAC at {rate:.0f} kb/s; 32 to 160 are recommended")
    for variant in variants:
        if variant.own.kind == "video" and variant.audio and any(t.handler == "soun" for t in variant.own.tracks):
            findings.add("separate-alternatives", variant.own.where, "it carries audio though audio renditions exist")


def _audio_tracks(measure: Measure) -> list[str]:
    return [track.entry.codecs for track in measure.tracks if track.handler == "soun"]


def _is_stereo_aac(measure: Measure) -> bool:
    return any(
        track.entry.codecs in ("mp4a.40.2", "mp4a.40.5", "mp4a.40.29") and track.entry.channels == 2
        for track in measure.tracks
        if track.handler == "soun"
    )


def _check_pictures(entry: Entry, films: Sequence[Variant], findings: Findings) -> None:
    """Rule 23."""
    if all(_transfer(film.own) in (_PQ, _HLG) for film in films):
        findings.add("sdr", entry.where, "no variant is SDR")
    colours = {_colour(film.own) for film in films if _transfer(film.own) not in (_PQ, _HLG)} - {None}
    if len(colours) > 1:
        findings.add(
            "one-colour", entry.where, f"variants differ in colour: {', '.join(map(str, sorted(map(str, colours))))}"
        )
    widest, tallest = max((_size(film.own) for film in films), key=lambda size: size[0] * size[1])
    for film in films:
        width, height = _size(film.own)
        if min(abs(width - height * widest / tallest), abs(height - width * tallest / widest)) > 2:
            findings.add(
                "one-aspect", entry.where, f"{film.stream.label} is {width}x{height}, the largest is {widest}x{tallest}"
            )


def _check_ladder(entry: Entry, variants: Sequence[Variant], films: Sequence[Variant], findings: Findings) -> None:
    """Rules 31 to 34."""
    where, rungs = entry.where, {id(film.own): film for film in films}.values()
    top = max(film.height for film in films)
    if len(rungs) < 2 and top > _LOWEST:
        findings.add("several", where, "there is only one bit rate of video")
    if top >= _HD and sum(film.height == top for film in rungs) < 2:
        findings.add("two-at-top", where, f"only one variant has the largest size ({top} lines)")
    nearest = min(films, key=lambda film: abs(film.average - 2_000_000))
    if abs(films[0].average - 2_000_000) > abs(nearest.average - 2_000_000):
        message = (
            f"the first variant averages {films[0].average // 1000} kb/s; {nearest.stream.label} is nearer to 2000"
        )
        findings.add("first-variant", where, message)
    lowest = min(variants, key=lambda variant: variant.peak)
    if lowest.peak > _CELLULAR:
        findings.add("cellular", where, f"no variant peaks at 192 kb/s or less; the lowest at {lowest.peak // 1000}")
    _check_cellular_audio(entry, films, findings)
    for film in rungs:
        _check_rung(where, film, findings)


def _check_cellular_audio(entry: Entry, films: Sequence[Variant], findings: Findings) -> None:
    groups = {name for film in films if (name := film.stream.attributes.get("AUDIO"))}
    if len(groups) == 1 and len(films) > 1:
        findings.add("cellular-audio", entry.where, "there is no second, poorer audio group for cellular variants")


def _check_rung(where: str, film: Variant, findings: Findings) -> None:
    """Rule 34: a step above twice the reference for its size wastes what a larger picture could use."""
    width, height = _size(film.own)
    pixels, kbps = min(_REFERENCE, key=lambda step: abs(step[0] - width * height))
    rate = average(film.own.sizes) // 1000
    if _codec(film).startswith("avc") and rate > 2 * kbps and pixels * 2 > width * height:
        findings.add(
            "ladder", where, f"{film.stream.label}: {rate} kb/s at {width}x{height}; the reference ladder has {kbps}"
        )


def _codec(film: Variant) -> str:
    return film.own.main.entry.codecs if film.own.main else ""


def renditions(entry: Entry) -> Iterator[Rendition]:
    """Renditions with a playlist of their own."""
    return (media for media in entry.media if media["URI"])
