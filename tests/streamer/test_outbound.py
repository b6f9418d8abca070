"""Where nothing may be sent, whatever it is called; and that a name is never asked for twice."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from streamer import outbound
from streamer.config import Outbound
from streamer.outbound import Refused

STRICT, OPEN = Outbound(), Outbound(allow_http=True, allow_private=True)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

PRIVATE = """0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170
192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:a9fe:a9fe 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b:1::1 100::1 2001::1 2001:db8::1
2002:7f00:1::1 fc00::1 fd12:3456::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1""".split()
PUBLIC = (
    "1.1.1.1 8.8.8.8 93.184.216.34 172.32.0.1 192.0.1.1 ::ffff:8.8.8.8 64:ff9b::808:808 2606:4700:4700::1111".split()
)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_of_the_open_internet(address: str) -> None:
    assert not outbound.is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_open_internet(address: str) -> None:
    assert outbound.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "file:///etc/passwd", "//example.org", "https://", "https:///x", "",
        "https://a:b@example.org/", "https://example.org/#x", "https://example.org:0/", "https://example.org:99999/", "https://[::1",
        "https://exämple.org/", "https://example.org/a b", "https://example.org/\r\nx: y", "https://example.org\\@evil/", f"https://{'a' * 64}.org/",
        "https://127.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest", f"https://example.org/{'x' * 2000}",
    ],
)  # fmt: skip
def test_urls_that_are_refused_by_their_text(url: str) -> None:
    with pytest.raises(Refused):
        outbound.check(url, STRICT)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "017700000001", "127.1", "localhost"])
def test_other_spellings_of_this_machine_are_refused_when_they_are_resolved(host: str) -> None:
    with pytest.raises((Refused, OSError)) as refusal, outbound.connection(f"https://{host}:9/", STRICT, timeout_s=1):
        pass
    assert not isinstance(refusal.value, ConnectionError)


def test_one_private_address_among_public_ones_is_enough() -> None:
    asked = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(Refused), outbound.connection("https://hooks.example", STRICT, timeout_s=1, resolver=resolver):
        pass
    assert asked == [("hooks.example", 443)]


def test_the_connection_goes_to_the_address_that_was_checked_though_the_name_changes() -> None:
    answers = iter([["127.0.0.1"]])  # asked a second time it would raise
    with (
        listening([OK]) as port,
        outbound.connection(
            f"http://hooks.example:{port}/", OPEN, timeout_s=2, resolver=lambda host, at: next(answers)
        ) as client,
    ):
        client.request("GET", "/")
        assert client.getresponse().status == 200


def test_a_server_that_trickles_is_cut_off_in_time() -> None:
    began = time.monotonic()
    with listening([b"HTTP/1.1 200 OK\r\n", *[b"x-slow: yes\r\n"] * 100], pause_s=0.1) as port:
        url = f"http://127.0.0.1:{port}/"
        with pytest.raises(TimeoutError), outbound.connection(url, OPEN, timeout_s=0.5) as client:
            client.request("GET", "/")
            client.getresponse()
    assert time.monotonic() - began < 3


def test_tls_proves_the_name_though_the_address_was_ours_to_choose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, "hooks.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with listening([OK], certificate) as port:
        with outbound.connection(
            f"https://hooks.example:{port}/", OPEN, timeout_s=5, resolver=lambda host, at: ["127.0.0.1"]
        ) as client:
            client.request("GET", "/")
            assert client.getresponse().status == 200
        with (
            pytest.raises(ssl.SSLCertVerificationError),
            outbound.connection(
                f"https://other.example:{port}/", OPEN, timeout_s=5, resolver=lambda host, at: ["127.0.0.1"]
            ),
        ):
            pass


@contextmanager
def listening(pieces: list[bytes], certificate: Path | None = None, pause_s: float = 0.0) -> Iterator[int]:
    """A server that answers any connection with these bytes."""
    server = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if context and certificate:
        context.load_cert_chain(certificate)

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
                with context.wrap_socket(line, server_side=True) if context else line as line:
                    line.recv(65_536)
                    for piece in pieces:
                        line.sendall(piece)
                        time.sleep(pause_s)
            except OSError:
                if server.fileno() < 0:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)


def make_certificate(folder: Path, host: str) -> Path:
    """A self-signed certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path
