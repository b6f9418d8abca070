"""The multivariant playlist read from text: variants, renditions, I-frame streams, and rules 2, 3, 30, 35 as far as the text shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from packager.check.playlists import ONCE_TAGS, SEGMENT_TAGS, SHARED_ONCE_TAGS, check_version, fields
from packager.check.report import Findings
from packager.check.tags import Line, lines

TYPES: Final = {"AUDIO": "AUDIO", "SUBTITLES": "SUBTITLES", "VIDEO": "VIDEO", "CLOSED-CAPTIONS": "CLOSED-CAPTIONS"}
_DISTINCT: Final = (
    "NAME",
    "LANGUAGE",
    "ASSOC-LANGUAGE",
    "DEFAULT",
    "AUTOSELECT",
    "FORCED",
    "CHARACTERISTICS",
    "CHANNELS",
)


@dataclass(frozen=True, slots=True)
class Stream:
    """EXT-X-STREAM-INF or EXT-X-I-FRAME-STREAM-INF with its URI."""

    uri: str
    attributes: dict[str, str]
    line: int

    @property
    def label(self) -> str:
        return f"{self.uri or 'variant'} (line {self.line})"

    def number(self, name: str) -> int:
        """A decimal attribute, 0 where it is missing or no number."""
        value = self.attributes.get(name, "")
        return int(value) if value.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Rendition:
    """EXT-X-MEDIA."""

    attributes: dict[str, str]
    line: int

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name, "")


@dataclass(slots=True)
class Entry:
    """A multivariant playlist."""

    where: str
    variants: list[Stream] = field(default_factory=list)
    iframes: list[Stream] = field(default_factory=list)
    media: list[Rendition] = field(default_factory=list)
    independent: bool = False

    def group(self, kind: str, name: str) -> list[Rendition]:
        return [media for media in self.media if media["TYPE"] == kind and media["GROUP-ID"] == name]


def read_entry(text: str, where: str, findings: Findings) -> Entry:
    """Parse and test what needs no media."""
    tags = list(lines(text))
    entry = Entry(where)
    check_version(tags, where, findings)
    for line in tags:
        if line.tag in SEGMENT_TAGS | ONCE_TAGS:
            findings.add("mixed", where, f"{line.tag} belongs to a media playlist", f"line {line.number}")
    for tag, count in Counter(line.tag for line in tags if line.tag in SHARED_ONCE_TAGS).items():
        if count > 1:
            findings.add("once", where, f"{tag[1:]} comes {count} times")
    _collect(tags, entry, findings)
    _check_media(entry, findings)
    _check_groups(entry, findings)
    return entry


def _collect(tags: list[Line], entry: Entry, findings: Findings) -> None:
    pending: Line | None = None
    for line in tags:
        if line.tag == "#EXT-X-STREAM-INF":
            pending = line
        elif line.tag == "#EXT-X-I-FRAME-STREAM-INF":
            given = fields(line, entry.where, findings)
            entry.iframes.append(Stream(given.get("URI", ""), given, line.number))
        elif line.tag == "#EXT-X-MEDIA":
            entry.media.append(Rendition(fields(line, entry.where, findings), line.number))
        elif line.tag == "#EXT-X-INDEPENDENT-SEGMENTS":
            entry.independent = True
        elif not line.tag and pending is None:
            findings.add("mixed", entry.where, f"{line.value} has no EXT-X-STREAM-INF", f"line {line.number}")
        elif not line.tag and pending is not None:
            entry.variants.append(Stream(line.value, fields(pending, entry.where, findings), pending.number))
            pending = None
    if pending is not None:
        findings.add("attributes", entry.where, "EXT-X-STREAM-INF has no URI below it", f"line {pending.number}")


def _check_media(entry: Entry, findings: Findings) -> None:
    for media in entry.media:
        where, at = entry.where, f"line {media.line}"
        for name in ("TYPE", "GROUP-ID", "NAME"):
            if not media[name]:
                findings.add("media-attributes", where, f"EXT-X-MEDIA has no {name}", at)
        if media["TYPE"] == "SUBTITLES" and not media["URI"]:
            findings.add("media-attributes", where, f"subtitles «{media['NAME']}» have no URI", at)
        if media["TYPE"] == "CLOSED-CAPTIONS" and (media["URI"] or not media["INSTREAM-ID"]):
            findings.add("media-attributes", where, "closed captions need INSTREAM-ID and have no URI", at)
        if media["DEFAULT"] == "YES" and media["AUTOSELECT"] == "NO":
            findings.add("media-attributes", where, f"«{media['NAME']}» is DEFAULT=YES with AUTOSELECT=NO", at)
        if media["TYPE"] != "VIDEO" and not media["LANGUAGE"]:
            findings.add("language", where, f"«{media['NAME']}» has no LANGUAGE", at)
        if media["TYPE"] == "AUDIO" and not media["CHANNELS"]:
            findings.add("channels", where, f"audio «{media['NAME']}» has no CHANNELS", at)


def _check_groups(entry: Entry, findings: Findings) -> None:
    """Rule 35: names and defaults inside each group, the same renditions in all groups of a type."""
    groups: dict[tuple[str, str], list[Rendition]] = {}
    for media in entry.media:
        groups.setdefault((media["TYPE"], media["GROUP-ID"]), []).append(media)
    for (kind, name), members in groups.items():
        for repeated in _repeated(media["NAME"] for media in members):
            findings.add("unique-name", entry.where, f"{kind} group «{name}» names «{repeated}» twice")
        if sum(media["DEFAULT"] == "YES" for media in members) > 1:
            findings.add("one-default", entry.where, f"{kind} group «{name}» has more than one DEFAULT=YES")
    for kind in TYPES:
        _check_same(
            entry, kind, [(name, members) for (type_, name), members in groups.items() if type_ == kind], findings
        )
    for variant in entry.variants:
        for kind in TYPES:
            wanted = variant.attributes.get(kind, "")
            if wanted and wanted != "NONE" and (kind, wanted) not in groups:
                findings.add(
                    "group", entry.where, f"{variant.label} refers to {kind} group «{wanted}», which does not exist"
                )


def _check_same(entry: Entry, kind: str, groups: list[tuple[str, list[Rendition]]], findings: Findings) -> None:
    """All groups offer the same choices; CHANNELS may differ between groups of different quality."""
    if not groups:
        return
    first_name, first = groups[0]
    known = {tuple(media[name] for name in _DISTINCT[:-1]) for media in first}
    for name, members in groups[1:]:
        if {tuple(media[key] for key in _DISTINCT[:-1]) for media in members} != known:
            message = f"{kind} groups «{first_name}» and «{name}» do not offer the same renditions"
            findings.add("same-renditions", entry.where, message)


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
