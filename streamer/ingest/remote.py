"""A file on somebody else's web server: one GET of the rest of it, and in words what is wrong when there is no film to be had.

    with remote.opened(url, rules, limits, seen) as remote:     # seen: how much is here already, and of which state of the file
        for piece in remote.pieces(): …

Every redirect is a new connection with all checks of `outbound`. The rest of a file is asked for only if the server gave it a validator
(a strong ETag, or a date) and says by `If-Range` that the file is still the same; else it comes from its first byte.
"""

import http.client
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from streamer import outbound
from streamer.catalog import names
from streamer.config import Fetch, Outbound
from streamer.ingest import faults
from streamer.outbound import Answer, Resolver

REDIRECTS = 5
_PIECE = 256 << 10
_LOOKED_AT = 512
_VALIDATOR_MAX = 255
_MOVED = {301, 302, 303, 307, 308}
_SPAN = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_EXTENDED = re.compile(r"(?:^|;)\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^';]*'([^;\s]+)", re.IGNORECASE)
_HEADERS = {"User-Agent": "streamer-import/1", "Accept": "*/*", "Accept-Encoding": "identity"}


class Broken(ConnectionError):
    """The connection ended, or fell silent, before the file did. What came counts."""


class Changed(Exception):
    """The file is not the one that the bytes here are from, or can't be continued: begin again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is here of a file: its first `size` bytes, and the validator they came under."""

    size: int = 0
    validator: str | None = None


@dataclass(frozen=True, slots=True)
class Remote:
    """A file whose bytes from `offset` on are coming. `size` is all of it, None when the server doesn't say; `name` is clean, maybe empty."""

    offset: int
    size: int | None
    validator: str | None
    name: str
    answer: Answer

    @property
    def cut(self) -> Callable[[], None]:
        """Ends it from any thread; the reader sees Broken."""
        return self.answer.cut

    def pieces(self) -> Iterator[bytes]:
        """The bytes. Broken when they end too early, TaskFailed when they are a page of text instead of a film."""
        end, first = self.offset, self.offset == 0
        while piece := self._piece():
            if first and _is_page(piece):
                raise faults.page()
            first = False
            end += len(piece)
            yield piece
        if self.size is not None and end < self.size:
            raise Broken(f"it ended at byte {end:,} of {self.size:,}")

    def _piece(self) -> bytes:
        try:
            return self.answer.response.read1(_PIECE)
        except TimeoutError:
            raise Broken("nothing more came") from None
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: another thread has cut it
            raise Broken(f"the connection broke ({type(error).__name__})") from error


@contextmanager
def opened(
    url: str, rules: Outbound, limits: Fetch, seen: Seen = Seen(), *, resolver: Resolver = outbound.resolve
) -> Iterator[Remote]:
    """The file behind all redirects. TaskFailed says why there is none; Changed when what is `seen` is of no use."""
    with ExitStack() as stack:
        for _ in range(REDIRECTS + 1):
            with faults.explained(url):
                answer = stack.enter_context(_asked(url, rules, limits, seen, resolver))
                location = answer.response.headers.get("location")
            if answer.response.status not in _MOVED or location is None:
                break
            stack.close()
            url = urldefrag(urljoin(url, location))[0]
        else:
            raise faults.circles(REDIRECTS)
        _judge(answer.response.status, seen)
        yield _remote(url, answer, seen)


def name_of(url: str) -> str:
    """The name of a file that a URL's path ends in, clean, maybe empty."""
    return names.file_name(unquote(urlsplit(url).path))


def _asked(url: str, rules: Outbound, limits: Fetch, seen: Seen, resolver: Resolver) -> AbstractContextManager[Answer]:
    headers = dict(_HEADERS)
    if seen.size and seen.validator:
        headers |= {"Range": f"bytes={seen.size}-", "If-Range": seen.validator}
    return outbound.download(
        url, rules, headers, head_s=limits.connect_s, silence_s=limits.silence_s, resolver=resolver
    )


def _judge(status: int, seen: Seen) -> None:
    if status == 416 and seen.size:
        raise Changed
    if status not in (200, 206):
        raise faults.of_status(status)


def _remote(url: str, answer: Answer, seen: Seen) -> Remote:
    headers = answer.response.headers
    offset, size = 0, answer.response.length
    if answer.response.status == 206:
        offset, size = _span(headers.get("content-range"), seen)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise faults.packed()
    validator = _validator(headers)
    if offset and validator not in (None, seen.validator):
        raise Changed
    validator = validator or (seen.validator if offset else None)  # a 206 need not repeat the date
    return Remote(offset, size, validator, _named(headers.get("content-disposition")) or name_of(url), answer)


def _span(text: str | None, seen: Seen) -> tuple[int, int | None]:
    """Where a 206 begins and how large the whole file is."""
    found = _SPAN.fullmatch((text or "").strip())
    if found is None or int(found[1]) != seen.size:
        raise Changed
    return seen.size, None if found[3] == "*" else int(found[3])


def _validator(headers: Message) -> str | None:
    etag, date = headers.get("etag", ""), headers.get("last-modified")
    strong = etag if etag.startswith('"') else None
    chosen = strong or date
    return chosen if chosen and len(chosen) <= _VALIDATOR_MAX and chosen.isascii() and chosen.isprintable() else None


def _named(disposition: str | None) -> str:
    """The file name in a Content-Disposition (RFC 6266). Many servers send it in plain UTF-8, which http.client took for Latin-1."""
    if disposition is None:
        return ""
    text = disposition.encode("latin-1", "replace").decode("utf-8", "replace")
    if extended := _EXTENDED.search(text):  # it is the better one, wherever it stands
        return names.file_name(unquote(extended[2], extended[1]))
    message = Message()
    message["Content-Disposition"] = text
    return names.file_name(message.get_filename() or "")


def _is_page(first: bytes) -> bool:
    start = first[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))
