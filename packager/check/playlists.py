"""Playlists read from text, with the faults that the text alone shows: rules 1 to 10, and where keys stand (44)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from packager.check.report import Findings
from packager.check.tags import Line, attributes, lines

SEGMENT_TAGS: Final = frozenset(
    f"#EXT{name}"
    for name in ("INF", "-X-BYTERANGE", "-X-DISCONTINUITY", "-X-KEY", "-X-MAP", "-X-PROGRAM-DATE-TIME", "-X-GAP")
)
ONCE_TAGS: Final = frozenset(
    f"#EXT-X-{name}"
    for name in (
        "TARGETDURATION",
        "MEDIA-SEQUENCE",
        "DISCONTINUITY-SEQUENCE",
        "ENDLIST",
        "PLAYLIST-TYPE",
        "I-FRAMES-ONLY",
        "SERVER-CONTROL",
        "PART-INF",
    )
)
SHARED_ONCE_TAGS: Final = frozenset({"#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-START"})
ENTRY_TAGS: Final = frozenset(
    f"#EXT-X-{name}"
    for name in ("MEDIA", "STREAM-INF", "I-FRAME-STREAM-INF", "SESSION-DATA", "SESSION-KEY", "CONTENT-STEERING")
)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?),")
_RANGE: Final = re.compile(r"(\d+)(?:@(\d+))?")


@dataclass(frozen=True, slots=True)
class Key:
    """EXT-X-KEY in effect. `iv` is None where the media sequence number stands in for it."""

    method: str
    uri: str
    iv: bytes | None
    format: str
    line: int


@dataclass(frozen=True, slots=True)
class Map:
    """EXT-X-MAP in effect, with the key that stood above it."""

    uri: str
    span: tuple[int, int] | None
    key: Key | None
    line: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A media segment as listed. `number` is its media sequence number, `span` its (offset, size) in the resource."""

    uri: str
    number: int
    duration: Fraction
    span: tuple[int, int] | None
    map: Map | None
    key: Key | None
    discontinuity: bool
    line: int


@dataclass(slots=True)
class MediaList:
    """A media playlist. `target` is 0 where the text gives none that can be read."""

    where: str
    target: int = 0
    type: str = ""
    ended: bool = False
    iframes_only: bool = False
    independent: bool = False
    segments: list[Segment] = field(default_factory=list)

    @property
    def growing(self) -> bool:
        """There is more to come, which only EVENT playlists may say (a sliding window is no film)."""
        return self.type == "EVENT" and not self.ended

    @property
    def seconds(self) -> Fraction:
        return sum((segment.duration for segment in self.segments), Fraction(0))


def decode(data: bytes, where: str, findings: Findings) -> str:
    """The playlist's text; rule 1."""
    if data.startswith(b"\xef\xbb\xbf"):
        findings.add("utf8", where, "the playlist starts with a byte order mark")
        data = data[3:]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        findings.add("utf8", where, f"byte {error.start} is not UTF-8")
        text = data.decode("utf-8", "replace")
    if text.splitlines()[:1] != ["#EXTM3U"]:
        findings.add("extm3u", where, "the first line is not #EXTM3U")
    return text


def is_media(text: str) -> bool:
    """A media playlist rather than an entry playlist: it has a tag that only media playlists may have."""
    return any(line.tag in ("#EXTINF", "#EXT-X-TARGETDURATION") for line in lines(text))


def fields(line: Line, where: str, findings: Findings) -> dict[str, str]:
    """The attributes of a tag, empty after a syntax fault."""
    try:
        return attributes(line.value)
    except ValueError as error:
        findings.add("attributes", where, f"{line.tag}: {error}", f"line {line.number}")
        return {}


def read_media(text: str, where: str, findings: Findings) -> MediaList:
    """Parse a media playlist and test rules 2 to 10 on it, but for its type and its end (see `check_end`)."""
    tags = list(lines(text))
    playlist = MediaList(where)
    _once(tags, where, findings)
    for line in tags:
        if line.tag in ENTRY_TAGS:
            findings.add("mixed", where, f"{line.tag} belongs to a multivariant playlist", f"line {line.number}")
    values = {line.tag: line.value for line in tags if line.tag in ONCE_TAGS | SHARED_ONCE_TAGS}
    playlist.type = values.get("#EXT-X-PLAYLIST-TYPE", "")
    playlist.ended = "#EXT-X-ENDLIST" in values
    playlist.iframes_only = "#EXT-X-I-FRAMES-ONLY" in values
    playlist.independent = "#EXT-X-INDEPENDENT-SEGMENTS" in values
    playlist.target = _target(values, where, findings)
    playlist.segments = list(_segments(tags, values, where, findings))
    check_version(tags, where, findings)
    if playlist.ended and tags[-1].tag != "#EXT-X-ENDLIST":
        findings.add("endlist-last", where, "EXT-X-ENDLIST is not the last line")
    _check_lengths(playlist, findings)
    return playlist


def check_version(tags: list[Line], where: str, findings: Findings) -> None:
    """Rule 2: one EXT-X-VERSION, at or above what the tags in use need."""
    given = [line for line in tags if line.tag == "#EXT-X-VERSION"]
    if len(given) > 1:
        findings.add("one-version", where, f"EXT-X-VERSION comes {len(given)} times")
    version = int(given[0].value) if given and given[0].value.isdecimal() else 1
    need, reason = max(_needs(tags), default=(1, ""))
    if version < need:
        said = f"EXT-X-VERSION is {version}" if given else "EXT-X-VERSION is missing"
        findings.add("version", where, f"{said}, but {reason} needs {need}")


def _needs(tags: list[Line]) -> Iterator[tuple[int, str]]:
    iframes_only = any(line.tag == "#EXT-X-I-FRAMES-ONLY" for line in tags)
    for line in tags:
        value = line.value
        if line.tag == "#EXT-X-KEY":
            if re.search(r"(^|,)IV=", value):
                yield 2, "an IV"
            if re.search(r"(^|,)KEYFORMAT(VERSIONS)?=|METHOD=SAMPLE-AES", value):
                yield 5, "SAMPLE-AES or KEYFORMAT"
        elif line.tag == "#EXTINF" and "." in value.partition(",")[0]:
            yield 3, "a fractional EXTINF"
        elif line.tag in ("#EXT-X-BYTERANGE", "#EXT-X-I-FRAMES-ONLY"):
            yield 4, line.tag[1:]
        elif line.tag == "#EXT-X-MAP":
            yield (5, "EXT-X-MAP among I-frames") if iframes_only else (6, "EXT-X-MAP")
        elif line.tag == "#EXT-X-MEDIA" and 'INSTREAM-ID="SERVICE' in value:
            yield 7, "a SERVICE channel"
        elif line.tag == "#EXT-X-DEFINE":
            yield 8, "EXT-X-DEFINE"


def _once(tags: list[Line], where: str, findings: Findings) -> None:
    for tag, count in Counter(line.tag for line in tags if line.tag in ONCE_TAGS | SHARED_ONCE_TAGS).items():
        if count > 1:
            findings.add("once", where, f"{tag[1:]} comes {count} times")


def _target(values: dict[str, str], where: str, findings: Findings) -> int:
    text = values.get("#EXT-X-TARGETDURATION")
    if text is None or not text.isdecimal() or int(text) < 1:
        said = "is missing" if text is None else f"«{text}» is not a whole number of seconds, 1 or more"
        findings.add("target", where, f"EXT-X-TARGETDURATION {said}")
        return 0
    return int(text)


@dataclass(slots=True)
class _State:
    """What tags above a segment have set."""

    number: int = 0
    duration: Fraction | None = None
    span: tuple[int, int | None] | None = None
    map: Map | None = None
    key: Key | None = None
    discontinuity: bool = False


def _segments(tags: list[Line], values: dict[str, str], where: str, findings: Findings) -> Iterator[Segment]:
    start = values.get("#EXT-X-MEDIA-SEQUENCE", "0")
    state = _State(int(start) if start.isdecimal() else 0)
    ends: dict[str, int] = {}
    for line in tags:
        if line.tag:
            _apply(line, state, where, findings)
            continue
        if state.duration is None:
            findings.add("extinf", where, f"{line.value} has no EXTINF", f"line {line.number}")
        span = _placed(state.span, line, ends, where, findings)
        yield Segment(
            line.value,
            state.number,
            state.duration or Fraction(0),
            span,
            state.map,
            state.key,
            state.discontinuity,
            line.number,
        )
        state.number += 1
        state.duration, state.span, state.discontinuity = None, None, False


def _apply(line: Line, state: _State, where: str, findings: Findings) -> None:
    if line.tag == "#EXTINF":
        match = _DURATION.match(line.value)
        state.duration = Fraction(match[1]) if match else Fraction(0)
        if not state.duration:
            findings.add("extinf", where, f"EXTINF «{line.value}» is not a duration above 0", f"line {line.number}")
    elif line.tag == "#EXT-X-BYTERANGE":
        state.span = _range(line.value, line, where, findings)
    elif line.tag == "#EXT-X-DISCONTINUITY":
        state.discontinuity = True
    elif line.tag == "#EXT-X-KEY":
        state.key = _key(line, where, findings)
    elif line.tag == "#EXT-X-MAP":
        state.map = _map(line, state.key, where, findings)


def _range(value: str, line: Line, where: str, findings: Findings) -> tuple[int, int | None] | None:
    match = _RANGE.fullmatch(value)
    if match is None:
        findings.add("range", where, f"«{value}» is not a byte range", f"line {line.number}")
        return None
    return int(match[1]), int(match[2]) if match[2] else None


def _placed(
    span: tuple[int, int | None] | None, line: Line, ends: dict[str, int], where: str, findings: Findings
) -> tuple[int, int] | None:
    """A byte range without offset follows the one before it in the same resource."""
    if span is None:
        return None
    size, offset = span
    if offset is None and line.value not in ends:
        findings.add("range", where, "a byte range without offset follows nothing", f"line {line.number}")
    offset = ends.get(line.value, 0) if offset is None else offset
    ends[line.value] = offset + size
    return offset, size


def _key(line: Line, where: str, findings: Findings) -> Key | None:
    given = fields(line, where, findings)
    method = given.get("METHOD", "")
    if method == "NONE":
        return None
    if "URI" not in given:
        findings.add("key-uri", where, f"EXT-X-KEY METHOD={method or 'nothing'} has no URI", f"line {line.number}")
    iv = given.get("IV")
    if iv is not None and not re.fullmatch(r"0[xX][0-9A-Fa-f]{1,32}", iv):
        findings.add("attributes", where, f"IV {iv} is not 128 bits in hexadecimal", f"line {line.number}")
        iv = None
    number = int(iv, 16).to_bytes(16, "big") if iv else None
    return Key(method, given.get("URI", ""), number, given.get("KEYFORMAT", "identity"), line.number)


def _map(line: Line, key: Key | None, where: str, findings: Findings) -> Map | None:
    given = fields(line, where, findings)
    if "URI" not in given:
        findings.add("map", where, "EXT-X-MAP has no URI", f"line {line.number}")
        return None
    found = Map(given["URI"], None, key, line.number)
    if key is not None and key.method == "AES-128" and key.iv is None:
        message = "EXT-X-MAP stands below an EXT-X-KEY that has no IV: put it above, in the clear"
        findings.add("map-key", where, message, f"line {line.number}")
    if "BYTERANGE" in given:
        span = _range(given["BYTERANGE"], line, where, findings)
        if span:
            found = replace(found, span=(span[1] or 0, span[0]))
    return found


def check_end(playlist: MediaList, event: bool, findings: Findings) -> None:
    """Rule 7. `event`: the playlist belongs to a film in the making, or to one that was."""
    if not playlist.ended and not playlist.growing:
        findings.add("endlist", playlist.where, "EXT-X-ENDLIST is missing, so players wait for more")
    said = f"EXT-X-PLAYLIST-TYPE {f'is {playlist.type}' if playlist.type else 'is missing'}"
    if event and playlist.type != "EVENT":
        findings.add("event", playlist.where, f"{said}, not EVENT, in a package of playlists that grow")
    elif not event and playlist.type != "VOD":
        findings.add("vod", playlist.where, f"{said}, not VOD")


def _check_lengths(playlist: MediaList, findings: Findings) -> None:
    if not playlist.target or playlist.iframes_only:
        return
    for segment in playlist.segments:
        if segment.duration >= playlist.target + Fraction(1, 2):
            message = f"{segment.uri} lasts {float(segment.duration):g} s, the target duration is {playlist.target}"
            findings.add("too-long", playlist.where, message, f"line {segment.line}")
