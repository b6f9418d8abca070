"""Media types that Schemathesis does not know: the bytes of tus and lines of JSON."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")  # type: ignore[untyped-decorator]
def as_bytes(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.deserializer("application/jsonl")  # type: ignore[untyped-decorator]
def of_lines(context: Any, response: Any) -> Any:
    """The first line: all of them have the same shape."""
    return json.loads(next(iter(response.text.splitlines()), "{}"))
