"""Why a file does not come from another server, in words that somebody can act on, and whether asking again can help."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from streamer.jobs.errors import TaskFailed
from streamer.outbound import Refused

_AGAIN = "It is asked again later."


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Whatever goes wrong on the way to an answer, as TaskFailed."""
    host = urlsplit(url).hostname or "the other server"
    try:
        yield
    except Refused as refused:
        detail = f"Nothing is fetched from {host}: {refused}."
        raise _final("url_refused", "This address is not allowed", detail) from None
    except (OSError, http.client.HTTPException) as error:
        raise _of_connection(host, error) from error


def of_status(status: int) -> TaskFailed:
    """An answer that is no file."""
    said = f"The other server answered {status}"
    if status in (401, 403):
        detail = f"{said}: the address needs a login, or has expired. Give one that anybody can open."
        return _final("remote_forbidden", "The other server refuses it", detail)
    if status in (404, 410):
        return _final("remote_missing", "There is nothing at this address", f"{said}. Check the address.")
    if status in (408, 425, 429) or status >= 500:
        return _passing("remote_busy", "The other server can't answer now", f"{said}.")
    return _final("remote_refused", "The other server does not send it", f"{said}, which is no file.")


def circles(redirects: int) -> TaskFailed:
    """Redirects without an end."""
    detail = f"It redirects more than {redirects} times. Give the address of the file itself."
    return _final("too_many_redirects", "The address leads in circles", detail)


def page() -> TaskFailed:
    """HTML, such as a download page or a login."""
    detail = "It is a web page, not a film. Give the address of the file itself, which a download button leads to."
    return _final("not_a_file", "The address leads to a page", detail)


def packed() -> TaskFailed:
    """A Content-Encoding, though we said that we take none."""
    detail = "The other server compresses what it sends. Give an address that sends the film as it is."
    return _final("compressed", "The file comes compressed", detail)


def broken(reason: str) -> TaskFailed:
    """The connection ends again and again without anything new."""
    return _passing("broken_off", "The film broke off", f"The other server stopped sending: {reason}.")


def too_slow(bytes_s: int) -> TaskFailed:
    """A server that trickles would hold a worker for ever."""
    return _passing("too_slow", "The other server is too slow", f"It sends less than {bytes_s:,} bytes a second.")


def changing() -> TaskFailed:
    """Each answer is the beginning of another file."""
    return _passing(
        "changing", "The film changes while it is fetched", "Each time it was asked for, it was another file."
    )


def _of_connection(host: str, error: Exception) -> TaskFailed:
    if isinstance(error, socket.gaierror):
        detail = f"There is no server called {host}. Check the address."
        return TaskFailed("dns", "The name is not known", detail, retryable=error.errno == socket.EAI_AGAIN)
    if isinstance(error, ssl.SSLCertVerificationError):
        detail = f"The certificate of {host} is not valid: {error.verify_message}."
        return _final("tls", "The other server can't prove its name", detail)
    if isinstance(error, ssl.SSLError):
        return _passing("tls", "No secure connection", f"{host} does not speak TLS as we do ({error.reason}).")
    if isinstance(error, TimeoutError):
        return _passing("remote_silent", "The other server does not answer", f"{host} did not answer in time.")
    if isinstance(error, ConnectionRefusedError):
        return _passing("remote_down", "The other server is not there", f"{host} refused the connection.")
    detail = f"{host} ended the connection without an answer that makes sense ({type(error).__name__})."
    return _passing("remote_broken", "The other server can't be reached", detail)


def _final(code: str, title: str, detail: str) -> TaskFailed:
    return TaskFailed(code, title, detail, retryable=False)


def _passing(code: str, title: str, detail: str) -> TaskFailed:
    return TaskFailed(code, title, f"{detail} {_AGAIN}", retryable=True)
