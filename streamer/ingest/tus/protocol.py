"""The words of tus 1.0 (https://tus.io/protocols/resumable-upload), read from headers and written into them. Knows no upload.

Each function takes a header's text and gives a typed value, or the refusal that the protocol asks for.
"""

import hashlib
import hmac
import zlib
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from streamer import ids
from streamer.errors import Invalid, Problem

VERSION = "1.0.0"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "checksum",
    "termination",
    "expiration",
    "concatenation",
)
BYTES = "application/offset+octet-stream"
METADATA_MAX = 4096
PARTS_MAX = 128


class WrongVersion(Problem):
    """The client speaks another tus."""

    status, default_code, title = 412, "tus_version", "Another version of tus is spoken here"


class WrongType(Problem):
    """The body is not announced as bytes of an upload."""

    status, default_code, title = 415, "tus_content_type", "The body is not announced as bytes of an upload"


class ChecksumMismatch(Problem):
    """The bytes are not those the client meant; they are dropped. 460 is tus's own."""

    status, default_code, title = 460, "checksum_mismatch", "The bytes were damaged on their way"


class Digest(Protocol):
    """What hashlib's hashes have in common with `_Crc32`."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


ALGORITHMS: dict[str, Callable[[], Digest]] = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "crc32": _Crc32}


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one request must come to."""

    algorithm: str
    expected: bytes

    def passing(self, batches: Iterator[bytes]) -> Iterator[bytes]:
        """The batches; ChecksumMismatch after the last of them when they are not what was announced."""
        digest = ALGORITHMS[self.algorithm]()
        for batch in batches:
            digest.update(batch)
            yield batch
        if not hmac.compare_digest(digest.digest(), self.expected):
            raise ChecksumMismatch(
                f"Their {self.algorithm} is not the announced one. None of them was kept: send them again."
            )


@dataclass(frozen=True, slots=True)
class Concat:
    """A part of something larger (no `parts`), or the whole that its `parts` make: ids of uploads."""

    parts: tuple[str, ...] = ()

    @property
    def is_partial(self) -> bool:
        return not self.parts


def check_version(text: str | None) -> None:
    """WrongVersion unless the client speaks ours."""
    if text != VERSION:
        detail = f"Send `Tus-Resumable: {VERSION}`; OPTIONS tells what else is spoken here."
        raise WrongVersion(detail, headers={"Tus-Version": VERSION})


def check_type(text: str | None) -> None:
    """WrongType unless the body is announced as tus says."""
    if text is None or text.partition(";")[0].strip().lower() != BYTES:
        raise WrongType(f"Send `Content-Type: {BYTES}`.")


def number(name: str, text: str | None) -> int:
    """A length or an offset in bytes. Whether it is too large is for others to say."""
    if text is None:
        raise Invalid(f"The header {name} is missing.", code="tus_header")
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise Invalid(f"{name} must be a number of bytes, such as 1048576, not {text[:40]!r}.", code="tus_header")
    return int(text)


def length(text: str | None, deferred: str | None) -> int | None:
    """The size of a new upload, None when the client will say it later."""
    if deferred is None:
        return number("Upload-Length", text)
    if deferred != "1" or text is not None:
        raise Invalid("Send either Upload-Length or `Upload-Defer-Length: 1`.", code="tus_header")
    return None


def metadata(text: str | None) -> dict[str, str]:
    """Names and values. Values are any text at all: whoever uses one cleans it."""
    if text is None or not text.strip():
        return {}
    if len(text) > METADATA_MAX:
        raise Invalid(f"Upload-Metadata may have {METADATA_MAX} characters, not {len(text)}.", code="tus_metadata")
    pairs = [_pair(pair) for pair in text.split(",")]
    if len({name for name, _ in pairs}) < len(pairs):
        raise Invalid("Upload-Metadata has a name twice.", code="tus_metadata")
    return dict(pairs)


def checksum(text: str | None) -> Checksum | None:
    """What is announced, if anything is."""
    if text is None:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Invalid(f"Checksums are taken as {', '.join(ALGORITHMS)}, not {algorithm[:20]!r}.", code="tus_checksum")
    expected = _bytes(value.strip())
    if expected is None or len(expected) != len(ALGORITHMS[algorithm]().digest()):
        raise Invalid(f"Upload-Checksum must be `{algorithm} <digest in base64>`.", code="tus_checksum")
    return Checksum(algorithm, expected)


def concat(text: str | None) -> Concat | None:
    """Whether the new upload is a part, a whole of parts, or (None) neither."""
    if text is None:
        return None
    kind, _, urls = text.partition(";")
    if kind.strip() == "partial" and not urls:
        return Concat()
    parts = tuple(_part(url) for url in urls.split())
    if kind.strip() != "final" or not 1 <= len(parts) <= PARTS_MAX or len(set(parts)) < len(parts):
        raise Invalid(
            f"Upload-Concat must be `partial`, or `final;` and the URLs of 1 to {PARTS_MAX} different parts.",
            code="tus_concat",
        )
    return Concat(parts)


def concat_text(concat: Concat, urls: Sequence[str]) -> str:
    """The header again, with the parts' URLs as they are called here."""
    return "partial" if concat.is_partial else f"final;{' '.join(urls)}"


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.strip().partition(" ")
    data = _bytes(value.strip())
    if not name or not name.isascii() or not name.isprintable() or data is None:
        raise Invalid("Upload-Metadata must be pairs of a name and its value in base64.", code="tus_metadata")
    try:
        return name, data.decode()
    except UnicodeDecodeError:
        raise Invalid(f"The value of {name[:40]!r} in Upload-Metadata is not UTF-8.", code="tus_metadata") from None


def _bytes(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except (NotBase64, ValueError):  # ValueError: not ASCII
        return None


def _part(url: str) -> str:
    upload_id = urlsplit(url).path.rpartition("/")[2]
    if not ids.is_id(upload_id):
        raise Invalid(f"{url[:80]!r} is not the URL of an upload here.", code="tus_concat")
    return upload_id
