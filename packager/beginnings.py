"""What the first bytes of a file prove about all of it: that it is something else than a film, or that more was meant to follow than will come.

Pure reading of a few headers, no FFmpeg. Nothing is guessed: None means that nothing is known, which is the usual answer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

SHORTFALL = 0.05  # what may be missing at the end of a file that still plays; the probe judges by the same share
UNKNOWN_RIFF = 0xFFFFFFFF
_MP4_FIRST = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_MP4_KNOWN = _MP4_FIRST | {b"moof", b"mfra", b"sidx", b"styp", b"uuid", b"meta", b"udta", b"emsg", b"prft"}
_MAX_BOXES = 10_000
_ABSURD = 1 << 46  # bytes; a length beyond that is damage, and proves nothing
_STRANGERS = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"BZh91AY&SY", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff\xe0", "a JPEG picture"),
    (b"\xff\xd8\xff\xe1", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"\x7fELF", "a program"),
    (b"{\\rtf", "a text document"),
    (b"#EXTM3U", "a playlist, not the film it names"),
    (b".RMF\x00\x00", "a RealMedia file"),
)
_TEXTS = ((b"<!doctype html", "a web page"), (b"<html", "a web page"))


@dataclass(frozen=True, slots=True)
class Cut:
    """The file ends at `size` and should go on to byte `promised`; `promised` None: its index is missing altogether."""

    size: int
    promised: int | None


def stranger(head: bytes) -> str | None:
    """What a file that begins like this is, if that is certain and no film."""
    for magic, name in _STRANGERS:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP picture"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((name for start, name in _TEXTS if text.startswith(start)), None)


def cut(file: BinaryIO, here: int, size: int) -> Cut | None:
    """Whether a file of `size` bytes, of which `here` can be read, is certain to be cut off."""
    head = _at(file, 0, 64)
    if head[4:8] in _MP4_FIRST:
        return _cut_mp4(file, here, size)
    promised = _riff_end(head) or _matroska_end(head)
    return Cut(size, promised) if promised is not None and _is_short(promised, size) else None


def has_whole_index(file: BinaryIO, here: int) -> bool:
    """Whether all of an MP4's movie box can be read: FFmpeg also takes half of one, with half of its tracks."""
    offset = 0
    for _ in range(_MAX_BOXES):
        if offset + 16 > here:
            return False
        kind, length = _box(_at(file, offset, 16))
        if kind == b"moov" or length < 8:
            return kind == b"moov" and offset + length <= here
        offset += length
    return False


def _is_short(promised: int, size: int) -> bool:
    return promised - size > promised * SHORTFALL


def _cut_mp4(file: BinaryIO, here: int, size: int) -> Cut | None:
    """Boxes are followed by their headers alone. Media without an index in front needs one behind it, so it must not reach the end."""
    offset, indexed, media = 0, False, False
    for _ in range(_MAX_BOXES):
        if offset >= size:
            return None if indexed or not media else Cut(size, None)
        if offset + 16 > here:
            return None
        kind, length = _box(_at(file, offset, 16))
        if kind not in _MP4_KNOWN or 0 < length < 8:
            return None
        end = offset + length if length else size
        if end > _ABSURD:
            return None
        indexed, media = indexed or kind in (b"moov", b"moof"), media or kind == b"mdat"
        if end > size:
            return Cut(size, end) if not indexed or _is_short(end, size) else None
        offset = end
    return None


def _box(header: bytes) -> tuple[bytes, int]:
    """Kind and length; 0: to the end of the file."""
    length, kind = struct.unpack_from(">I4s", header)
    return kind, struct.unpack_from(">Q", header, 8)[0] if length == 1 else length


def _riff_end(head: bytes) -> int | None:
    """AVI and WAV say how long they are in their first eight bytes."""
    if head[:4] != b"RIFF" or head[8:12] not in (b"AVI ", b"WAVE"):
        return None
    length = int.from_bytes(head[4:8], "little")
    return length + 8 if 0 < length < UNKNOWN_RIFF - 8 else None


def _matroska_end(head: bytes) -> int | None:
    """Matroska and WebM: the segment that follows the first header says its length, unless it was written as a stream."""
    if head[:4] != b"\x1a\x45\xdf\xa3" or (header := _number(head, 4)) is None:
        return None
    at = header[1] + header[0]
    if head[at : at + 4] != b"\x18\x53\x80\x67" or (segment := _number(head, at + 4)) is None:
        return None
    return segment[1] + segment[0]


def _number(data: bytes, at: int) -> tuple[int, int] | None:
    """An EBML length and where it ends; None when it is unknown or out of sight."""
    if at >= len(data) or data[at] == 0:
        return None
    width = 9 - data[at].bit_length()
    if at + width > len(data):
        return None
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else (value, at + width)


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)
