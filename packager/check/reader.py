"""One door to a package's bytes: fetched, headers tested, decrypted. Keeps inits and keys; never more than one segment of media."""

from __future__ import annotations

from dataclasses import dataclass, field

from packager.check import delivery
from packager.check.crypt import decrypt, decrypt_blocks, sequence_iv
from packager.check.fetch import Fetched, Missing, Source
from packager.check.playlists import Key, Map, Segment, decode
from packager.check.report import Findings
from packager.fmp4_read import InitFacts, read_init
from packager.mp4_boxes import Mp4Error


@dataclass(frozen=True, slots=True)
class Clear:
    """A segment in the clear and the bytes it takes on the wire."""

    data: bytes
    size: int


@dataclass(slots=True)
class Reader:
    """`where` of findings is the reference relative to the entry playlist's folder."""

    source: Source
    findings: Findings
    _inits: dict[tuple[str, Map], InitFacts | None] = field(default_factory=dict)
    _keys: dict[str, bytes | None] = field(default_factory=dict)

    def where(self, reference: str) -> str:
        root = self.source.entry.rpartition("/")[0]
        return reference[len(root) + 1 :] if root and reference.startswith(f"{root}/") else reference

    def text(self, reference: str) -> str | None:
        """A playlist's text, None when it cannot be read."""
        where = self.where(reference)
        fetched = self._get(reference, where)
        if fetched is None:
            return None
        delivery.check("playlist", where, fetched, self.findings, entry=reference == self.source.entry)
        return decode(fetched.data, where, self.findings)

    def init(self, base: str, entry: Map) -> InitFacts | None:
        """Facts of an init segment, None when it cannot be read."""
        if (base, entry) not in self._inits:
            self._inits[base, entry] = self._read_init(self.source.resolve(base, entry.uri), base, entry)
        return self._inits[base, entry]

    def segment(self, base: str, segment: Segment) -> Clear | None:
        """A media segment in the clear, None when it is missing or does not decrypt."""
        reference, where = self.source.resolve(base, segment.uri), self.where(base)
        if segment.key is not None and segment.key.method == "AES-128":
            return self._encrypted(reference, base, segment, segment.key)
        fetched = self._get(reference, self.where(reference), segment.span)
        if fetched is None:
            return None
        if segment.span and len(fetched.data) < segment.span[1]:
            end = segment.span[0] + len(fetched.data)
            message = f"{segment.uri} ends at byte {end}, the range asks for {sum(segment.span)}"
            self.findings.add("range", where, message, f"line {segment.line}")
        delivery.check(_kind(fetched.data), self.where(reference), fetched, self.findings)
        return Clear(fetched.data, len(fetched.data))

    def _get(self, reference: str, where: str, span: tuple[int, int] | None = None) -> Fetched | None:
        try:
            return self.source.get(reference, span)
        except Missing as error:
            self.findings.add("missing", where, f"cannot be read: {error}")
            return None

    def _read_init(self, reference: str, base: str, entry: Map) -> InitFacts | None:
        where = self.where(reference)
        fetched = self._get(reference, where, entry.span)
        if fetched is None:
            return None
        if entry.span and len(fetched.data) < entry.span[1]:
            self.findings.add("range", self.where(base), f"{entry.uri} is shorter than its range", f"line {entry.line}")
        delivery.check("init", where, fetched, self.findings)
        data = self._decrypted(fetched.data, base, entry.key, entry.key.iv or b"", where) if entry.key else fetched.data
        try:
            return read_init(data) if data is not None else None
        except Mp4Error as error:
            self.findings.add("segment-format", where, f"it is no init segment: {error}")
            return None

    def iframe(self, base: str, segment: Segment) -> bytes | None:
        """The byte range of an I-frame in the clear. Ranges over AES-128 count plain bytes: widen to blocks, then cut (RFC 8216 §6.3.6)."""
        key, span = segment.key, segment.span
        if key is None or key.method != "AES-128" or span is None:
            clear = self.segment(base, segment)
            return clear.data if clear else None
        reference = self.source.resolve(base, segment.uri)
        first, end = span[0] // 16 * 16, -(-sum(span) // 16) * 16
        before = max(0, first - 16)
        fetched = self._get(reference, self.where(reference), (before, end - before))
        secret = self._key(self.source.resolve(base, key.uri))
        if fetched is None or secret is None:
            return None
        blocks = fetched.data[: len(fetched.data) // 16 * 16]
        iv, blocks = (blocks[:16], blocks[16:]) if first else (key.iv or sequence_iv(segment.number), blocks)
        return decrypt_blocks(blocks, secret, iv)[span[0] - first :][: span[1]]

    def _encrypted(self, reference: str, base: str, segment: Segment, key: Key) -> Clear | None:
        where = self.where(reference)
        if key.iv is not None and key.iv != sequence_iv(segment.number):
            self.findings.add("iv", self.where(base), "the IV is not the media sequence number", f"line {key.line}")
        fetched = self._get(reference, where, segment.span)
        if fetched is None:
            return None
        delivery.check("fmp4", where, fetched, self.findings)
        data = self._decrypted(fetched.data, base, key, key.iv or sequence_iv(segment.number), where)
        if data is not None and data[4:8] == b"styp" and data[12:16] != bytes(4):
            # A wrong IV harms the first block only, and one wrong sequence number only its end: styp's minor version, always 0.
            self.findings.add(
                "decrypt", where, "the first block decrypts wrongly: its IV is not the media sequence number"
            )
        return None if data is None else Clear(data, len(fetched.data))

    def _decrypted(self, data: bytes, base: str, key: Key, iv: bytes, where: str) -> bytes | None:
        secret = self._key(self.source.resolve(base, key.uri))
        if secret is None:
            return None
        try:
            return decrypt(data, secret, iv)
        except ValueError as error:
            self.findings.add("decrypt", where, f"AES-128 does not decrypt it: {error}")
            return None

    def _key(self, reference: str) -> bytes | None:
        if reference not in self._keys:
            fetched = self._get(reference, self.where(reference))
            self._keys[reference] = fetched.data if fetched else None
            if fetched and len(fetched.data) != 16:
                self.findings.add("decrypt", self.where(reference), f"the key has {len(fetched.data)} bytes, not 16")
                self._keys[reference] = None
        return self._keys[reference]


def _kind(data: bytes) -> delivery.Kind:
    if data[:1] == b"\x47":
        return "ts"
    return "text" if data.lstrip(b"\xef\xbb\xbf")[:6] == b"WEBVTT" else "fmp4"
