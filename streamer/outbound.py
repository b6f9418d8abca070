"""Connections to addresses that strangers chose: webhooks, imports, and whatever else is told a URL. Never into our own network.

A name is resolved once, every address it has is checked, and the connection goes to a checked address, so a name that changes between
check and use (DNS rebinding) changes nothing. TLS still proves the name. Nothing here follows a redirect: each hop is a new `connection`.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from streamer.config import Outbound

Resolver = Callable[[str, int], Sequence[str]]
"""(host, port) -> its addresses; OSError when it has none."""

URL_MAX = 2000
CONNECT_S = 5.0

_NAT64 = ip_network("64:ff9b::/96")  # an IPv4 address in its last 32 bits
_NEVER = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments, which older Pythons take for public in part
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b:1::/48",  # NAT64 inside one network
        "2001::/32",  # Teredo and 6to4 hide an IPv4 address behind a relay
        "2002::/16",
        "fec0::/10",  # site-local, as it was once
    )
)


class Refused(Exception):
    """Nothing is sent there; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is still to be read; `cut` ends its connection, from any thread, so that a read that waits returns."""

    response: http.client.HTTPResponse
    cut: Callable[[], None]


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses the system knows for a name, in the order it would try them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def check(url: str, rules: Outbound) -> SplitResult:
    """The parts of a URL that may be used as far as its text tells, or Refused."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused("it is not a URL") from None
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Refused("it is too long, or has characters that a URL can't have")
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise Refused("it must begin with https:// and a host")
    if parts.scheme == "http" and not rules.allow_http:
        raise Refused("it must be https")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Refused("it must not have a user, a password or a fragment")
    _check_host(host, rules)
    return parts


@contextmanager
def connection(
    url: str, rules: Outbound, *, timeout_s: float, resolver: Resolver = resolve
) -> Iterator[http.client.HTTPConnection]:
    """An open connection to the URL's host, for one exchange. After `timeout_s` it ends whatever the other side does: TimeoutError.

    Refused when the URL or one of its addresses is not allowed; OSError and HTTPException as http.client raises them.
    """
    with _connected(url, rules, timeout_s, resolver) as (client, _):
        yield client


@contextmanager
def download(
    url: str,
    rules: Outbound,
    headers: Mapping[str, str],
    *,
    head_s: float,
    silence_s: float,
    resolver: Resolver = resolve,
) -> Iterator[Answer]:
    """A GET's answer, its head within `head_s`. From then on each read may wait for `silence_s`: TimeoutError. Errors as with `connection`."""
    with _connected(url, rules, head_s, resolver) as (client, line):
        live = client.sock
        client.request("GET", target(url), headers={**headers, "Connection": "close"})
        with client.getresponse() as response:  # lets go of the socket, which lives on under the response
            line.lift()
            live.settimeout(silence_s)
            yield Answer(response, line.cut)


def target(url: str) -> str:
    """What of a URL stands in a request's first line."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet's, whatever it is wrapped in."""
    return _is_public(ip_address(address.partition("%")[0]))


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return _is_public(ip.ipv4_mapped)
        if ip in _NAT64:
            return _is_public(IPv4Address(ip.packed[-4:]))
    odd = ip.is_multicast or ip.is_reserved or ip.is_loopback or ip.is_link_local or ip.is_unspecified
    return ip.is_global and not odd and not any(ip in network for network in _NEVER)


@contextmanager
def _connected(
    url: str, rules: Outbound, timeout_s: float, resolver: Resolver
) -> Iterator[tuple[http.client.HTTPConnection, "_Line"]]:
    began = time.monotonic()
    parts = check(url, rules)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    addresses = resolver(host, port)
    for address in addresses:
        _check_address(address, rules)
    sock = _reach(addresses, port, CONNECT_S)
    with sock, _deadline(sock, timeout_s - (time.monotonic() - began)) as line:
        client = _client(sock, parts.scheme, host, port)
        with client.sock:
            yield client, line


def _check_host(host: str, rules: Outbound) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        raise Refused("its host is not a name") from None
    if _is_address(host):
        _check_address(host, rules)


def _check_address(address: str, rules: Outbound) -> None:
    if not rules.allow_private and not is_public(address):
        raise Refused("its address is not on the open internet")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _reach(addresses: Sequence[str], port: int, timeout_s: float) -> socket.socket:
    fault: OSError = OSError("the name has no address")
    for address in addresses[:2]:  # one of each family is enough: the time is limited
        try:
            return socket.create_connection((address, port), timeout=timeout_s)
        except OSError as error:
            fault = error
    raise fault


def _client(sock: socket.socket, scheme: str, host: str, port: int) -> http.client.HTTPConnection:
    """http.client over a socket that is connected already. It must never connect by itself: that would resolve again."""
    if scheme == "https":
        trusted = ssl.create_default_context()
        client: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, context=trusted)
        client.sock = trusted.wrap_socket(sock, server_hostname=host)
    else:
        client = http.client.HTTPConnection(host, port)
        client.sock = sock
    client.auto_open = 0
    return client


class _Line:
    """A connection with a deadline. A socket's own timeout begins anew with every byte; this one doesn't."""

    def __init__(self, sock: socket.socket, left_s: float) -> None:
        sock.settimeout(max(left_s, 0.001))
        self.over = threading.Event()
        self._handle = sock.dup()  # TLS takes the socket over; this handle on the same connection stays
        self._timer = threading.Timer(max(left_s, 0), self._end)
        self._timer.daemon = True
        self._timer.start()

    def cut(self) -> None:
        with suppress(OSError):  # the other side was quicker
            self._handle.shutdown(socket.SHUT_RDWR)

    def lift(self) -> None:
        """No deadline any more; TimeoutError if it has just passed."""
        self._timer.cancel()
        self._timer.join()
        if self.over.is_set():
            raise _late()

    def close(self) -> None:
        self._timer.cancel()
        self._timer.join()
        self._handle.close()

    def _end(self) -> None:
        self.over.set()
        self.cut()


@contextmanager
def _deadline(sock: socket.socket, left_s: float) -> Iterator[_Line]:
    line = _Line(sock, left_s)
    try:
        yield line
        if line.over.is_set():  # http.client takes headers that break off for all of them
            raise _late()
    except (OSError, http.client.HTTPException) as error:
        if line.over.is_set():
            raise _late() from error
        raise
    finally:
        line.close()


def _late() -> TimeoutError:
    return TimeoutError("no whole answer in time")
