"""What a server says with the bytes: rules 41 to 43. Folders and object stores have no headers and pass."""

from __future__ import annotations

from typing import Final, Literal

from packager.check.fetch import Fetched
from packager.check.report import Findings

Kind = Literal["playlist", "init", "fmp4", "ts", "text", "key"]

_TYPES: Final[dict[Kind, frozenset[str]]] = {
    "playlist": frozenset({"application/vnd.apple.mpegurl", "audio/mpegurl"}),
    "init": frozenset({"video/mp4", "audio/mp4"}),
    "fmp4": frozenset({"video/iso.segment", "video/mp4", "audio/mp4"}),
    "ts": frozenset({"video/mp2t"}),
    "text": frozenset({"text/vtt", "text/plain"}),
    "key": frozenset({"application/octet-stream", "binary/octet-stream"}),
}


def check(kind: Kind, where: str, fetched: Fetched, findings: Findings, *, entry: bool = False) -> None:
    """Test the headers of one answer. The entry playlist may be redirected to; media may not (Apple 8.18)."""
    headers = fetched.headers
    if headers is None:
        return
    if kind == "playlist" and headers.get("content-encoding", "").lower() != "gzip":
        findings.add("gzip", where, "the playlist is not delivered with gzip though gzip was accepted")
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in _TYPES[kind]:
        wanted = " or ".join(sorted(_TYPES[kind]))
        findings.add("mime", where, f"Content-Type is {given or 'missing'}, not {wanted}")
    if headers.get("access-control-allow-origin") is None:
        findings.add("cors", where, "no Access-Control-Allow-Origin, so players on other sites cannot read it")
    if fetched.redirects and not entry:
        findings.add("redirect", where, f"{fetched.redirects} redirects before the bytes")
