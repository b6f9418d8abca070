"""The Range header (RFC 9110 §14), for one range of bytes.

A set of several ranges is answered with the whole object, which the RFC allows and every player accepts: multipart bodies serve no player
and have been a way to make servers work hard. What cannot be read is ignored, as the RFC asks; only a range outside the object is an error.
"""

from __future__ import annotations

import re

_SET = re.compile(rb"bytes[ \t]*=[ \t]*(.+)", re.IGNORECASE)
_RANGE = re.compile(rb"(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))")
_LONGEST_HEADER = 1024


class Unsatisfiable(Exception):
    """No part of the object lies in the range: 416."""


def select(header: bytes | None, size: int) -> tuple[int, int] | None:
    """Offset and length to send, at least one byte, or None for the whole object. Raises Unsatisfiable."""
    specs = _specs(header) if header else []
    if not specs:
        return None
    spans = [span for span in (_span(spec, size) for spec in specs) if span]
    if not spans:
        raise Unsatisfiable
    return spans[0] if len(specs) == 1 else None


def _specs(header: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """(first, last, suffix) of each range, empty where absent; none at all when any of them breaks the grammar."""
    match = _SET.fullmatch(header.strip())
    if match is None or len(header) > _LONGEST_HEADER:
        return []
    parts = [_RANGE.fullmatch(part.strip()) for part in match[1].split(b",")]
    specs = [(part[1] or b"", part[2] or b"", part[3] or b"") for part in parts if part]
    backwards = any(first and last and int(last) < int(first) for first, last, _ in specs)
    return [] if backwards or len(specs) < len(parts) else specs


def _span(spec: tuple[bytes, bytes, bytes], size: int) -> tuple[int, int] | None:
    first, last, suffix = spec
    start = int(first) if first else max(0, size - int(suffix))
    end = min(size, int(last) + 1) if last else size
    return (start, end - start) if start < end else None
