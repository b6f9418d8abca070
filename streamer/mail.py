"""Where letters go: a mail server, or files for whoever has none.

    mailbox = mail.open_mailbox(config)
    mailbox.send(message)                  # blocks; NotSent says whether the same letter may get through later

Over smtp:// the connection is encrypted as soon as the server offers it (STARTTLS), and a password is never sent before. Over smtps:// it is from the
first byte on. Certificates are checked.
"""

import os
import secrets
import smtplib
import ssl
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import structlog

from streamer import db
from streamer.config import Config

_PORTS = {"smtp": 587, "smtps": 465}

log = structlog.get_logger(__name__)


class NotSent(Exception):
    """The letter was not taken; the text names no address."""

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.retryable = retryable


class Mailbox(Protocol):
    """What takes letters."""

    def send(self, message: EmailMessage) -> None:
        """Returns when somebody else is responsible for the letter; NotSent otherwise."""


def open_mailbox(config: Config) -> Mailbox:
    """The one that the configuration names."""
    return Smtp(config.mail.url, config.mail.timeout_s) if config.mail.url else Folder(config.mail_dir)


def compose(sender: str, to: str, subject: str, text: str) -> EmailMessage:
    """A letter in plain text. NotSent for an address that no mail server could read."""
    message = EmailMessage()
    try:
        name, address = parseaddr(sender)
        message["From"] = Address(name, addr_spec=address)
        message["To"] = Address(addr_spec=to)
        message["Subject"] = subject
    except (MessageError, ValueError, IndexError) as error:
        raise NotSent("The address cannot be written to.", retryable=False) from error
    message["Date"] = format_datetime(db.now())
    message["Message-ID"] = make_msgid(domain=address.rpartition("@")[2] or "localhost")
    message["Auto-Submitted"] = "auto-generated"  # so that nobody's holiday note answers it
    message.set_content(text, cte="8bit")  # readable where letters are files; links stay in one piece
    return message


@dataclass(frozen=True, slots=True)
class Smtp:
    """A mail server by its URL."""

    url: str = field(repr=False)
    timeout_s: float

    def send(self, message: EmailMessage) -> None:
        try:
            with self._connect() as server:
                self._sign_in(server)
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code = max(code for code, _ in error.recipients.values())
            raise _refused(code) from error
        except smtplib.SMTPResponseException as error:
            raise _refused(error.smtp_code) from error
        except (smtplib.SMTPException, OSError) as error:
            raise NotSent(
                f"The mail server does not answer as it should: {type(error).__name__}.", retryable=True
            ) from error

    def _connect(self) -> smtplib.SMTP:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        if parts.scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=self.timeout_s, context=ssl.create_default_context())
        return smtplib.SMTP(host, port, timeout=self.timeout_s)

    def _sign_in(self, server: smtplib.SMTP) -> None:
        parts = urlsplit(self.url)
        server.ehlo()
        if parts.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        elif parts.scheme == "smtp" and parts.password:
            raise NotSent("The mail server offers no encryption, so it is not given the password.", retryable=True)
        if parts.username and parts.password:
            server.login(unquote(parts.username), unquote(parts.password))


@dataclass(frozen=True, slots=True)
class Folder:
    """Files that a mail program opens. They may hold live links, so they are for the owner of the folder only."""

    path: Path

    def send(self, message: EmailMessage) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = self.path / f"{db.now():%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(3)}.eml"
        unfinished = target.with_suffix(".part")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(message.as_bytes())
        unfinished.rename(target)
        log.info("letter put into a file", path=str(target))


def _refused(code: int) -> NotSent:
    # 4xx are for now (RFC 5321, 4.2.1). A password that is wrong may be put right before the tries are used up.
    return NotSent(f"The mail server refused the letter with {code}.", retryable=code < 500 or code == 535)
