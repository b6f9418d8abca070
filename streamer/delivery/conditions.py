"""Conditional requests (RFC 9110 §13) against one representation with a strong ETag and a modification time.

The order of evaluation is §13.2.2. Dates have whole seconds, so they decide only where the client sent no ETag.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

Headers = Mapping[bytes, bytes]
_CONDITIONS = frozenset({b"if-match", b"if-unmodified-since", b"if-none-match", b"if-modified-since"})


def failing(headers: Headers, etag: bytes, modified: datetime) -> int | None:
    """304 or 412 when a GET or HEAD must not be answered with the object, else None. `etag` has its quotes."""
    return None if _CONDITIONS.isdisjoint(headers) else _failing(headers, etag, modified)


def _failing(headers: Headers, etag: bytes, modified: datetime) -> int | None:
    if (wanted := headers.get(b"if-match")) is not None:
        if not _named(wanted, etag, weak=False):
            return 412
    elif _is_before(headers.get(b"if-unmodified-since"), modified):
        return 412
    if (known := headers.get(b"if-none-match")) is not None:
        return 304 if _named(known, etag, weak=True) else None
    return 304 if _is_since(headers.get(b"if-modified-since"), modified) else None


def range_holds(headers: Headers, etag: bytes, modified: datetime) -> bool:
    """If-Range (§13.1.5): whether the part the client already has is of this very object. Weak tags never match."""
    known = headers.get(b"if-range")
    if known is None or known == etag:
        return True
    return not known.startswith((b'"', b"W/")) and _date(known) == _seconds(modified)


def http_date(moment: datetime) -> bytes:
    return format_datetime(_seconds(moment), usegmt=True).encode()


def _named(header: bytes, etag: bytes, *, weak: bool) -> bool:
    if header.strip() == b"*":
        return True
    tags = [tag.strip() for tag in header.split(b",")]  # our own tags hold no comma
    return etag in tags or (weak and b"W/" + etag in tags)


def _is_before(header: bytes | None, modified: datetime) -> bool:
    date = _date(header)
    return date is not None and date < _seconds(modified)


def _is_since(header: bytes | None, modified: datetime) -> bool:
    date = _date(header)
    return date is not None and date >= _seconds(modified)


def _date(header: bytes | None) -> datetime | None:
    if header is None:
        return None
    try:
        date = parsedate_to_datetime(header.decode("ascii"))
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
