"""What a worker does with letters, and what people find in their mailbox."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

from sqlalchemy import select

from streamer import db
from streamer.jobs import runner
from streamer.jobs.tables import Job, State
from streamer.services import Services
from tests.streamer.accounts.conftest import Site


def letters(services: Services) -> list[EmailMessage]:
    """All letters that were asked for, written now, oldest first."""
    with db.reading(services) as s:
        waiting = s.scalars(select(Job.id).where(Job.kind == "mail", Job.state == State.QUEUED).order_by(Job.id)).all()
    for job_id in waiting:
        runner.perform(services, job_id, "postman")
    return [_read(path.read_bytes()) for path in sorted(services.config.mail_dir.glob("*.eml"))]


def token(letter: EmailMessage) -> str:
    """The secret of the link in it."""
    found = re.search(r"\?token=([\w-]{43})\s", letter.get_content())
    assert found, letter.get_content()
    return found[1]


@contextmanager
def policy_of(site: Site, sign_up: str, **accounts: object) -> Iterator[None]:
    """While the block lasts, accounts are for these."""
    config = site.services.config
    before = config.accounts
    config.__dict__["accounts"] = before.model_copy(update={"sign_up": sign_up, **accounts})
    try:
        yield
    finally:
        config.__dict__["accounts"] = before


def _read(raw: bytes) -> EmailMessage:
    letter = message_from_bytes(raw, policy=policy.default)
    assert isinstance(letter, EmailMessage)
    return letter
