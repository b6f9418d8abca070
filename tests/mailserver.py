"""A small mail server in a thread: takes letters over plain SMTP, STARTTLS or TLS, knows one password, and refuses as it is told."""

import base64
import datetime
import ipaddress
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "streamer", "p@ss word"


@dataclass
class MailServer:
    """`refusals` are used up one per letter: `b"450 later"` instead of taking it."""

    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refusals: list[bytes] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    at_once: bool = False


@contextmanager
def mail_server(certificate: Path | None = None, *, at_once: bool = False) -> Iterator[MailServer]:
    """Running while the block lasts; with a certificate it speaks TLS, `at_once` (smtps) or when asked (STARTTLS)."""
    state = MailServer(at_once=at_once)
    if certificate is not None:
        state.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        state.tls.load_cert_chain(certificate)
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), lambda *given: _Session(state, *given), False)
    server.daemon_threads, server.allow_reuse_address = True, True
    server.server_bind()
    server.server_activate()
    state.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


def make_certificate(folder: Path) -> Path:
    """Key and certificate for 127.0.0.1 in one file; whoever names it in SSL_CERT_FILE trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail server of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = folder / "mail.pem"
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


class _Session(socketserver.StreamRequestHandler):
    def __init__(self, state: MailServer, *given: object) -> None:
        self.state, self.is_encrypted = state, False
        super().__init__(*given)  # type: ignore[arg-type]

    def handle(self) -> None:
        if self.state.at_once:
            self._encrypt()
        self._say(b"220 ready")
        while line := self.rfile.readline():
            verb, _, rest = line.strip().partition(b" ")
            if verb.upper() == b"QUIT":
                return self._say(b"221 bye")
            self._answer(verb.upper(), rest)

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # wrapped anew by _encrypt, so that the server does not know it

    def _answer(self, verb: bytes, rest: bytes) -> None:
        if verb == b"EHLO":
            offers = [b"mail", b"AUTH PLAIN"] + ([b"STARTTLS"] if self.state.tls and not self.is_encrypted else [])
            for offer in offers[:-1]:
                self._say(b"250-" + offer)
            self._say(b"250 " + offers[-1])
        elif verb == b"STARTTLS":
            self._say(b"220 go ahead")
            self._encrypt()
        elif verb == b"AUTH":
            right = base64.b64decode(rest.split()[-1]) == f"\0{USER}\0{PASSWORD}".encode()
            self._say(b"235 welcome" if right else b"535 who are you")
        elif verb == b"RCPT":
            self.state.recipients.append(rest.decode())
            self._say(self.state.refusals.pop(0) if self.state.refusals else b"250 ok")
        elif verb == b"DATA":
            self._take()
        else:
            self._say(b"250 ok")

    def _take(self) -> None:
        self._say(b"354 go on")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        letter = message_from_bytes(b"".join(lines), policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self.state.letters.append(letter)
        self.state.encrypted.append(self.is_encrypted)
        self._say(b"250 taken")

    def _encrypt(self) -> None:
        assert self.state.tls is not None
        self.connection = self.request = self.state.tls.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", buffering=0)
        self.is_encrypted = True

    def _say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")
