"""The job that writes a letter and hands it to the mailbox: looks up who it is for, makes its link, sends it.

A try that failed after the letter was taken sends it again with another link; both open what they are for, and the first that is used closes the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import mail
from streamer.accounts import users
from streamer.accounts.notices import Notice
from streamer.accounts.tables import User
from streamer.config import Config
from streamer.jobs.errors import TaskFailed
from streamer.jobs.runner import Outcome, Task
from streamer.jobs.tables import Job
from streamer.membership import invitations, letters, tickets
from streamer.membership.letters import Letter
from streamer.membership.outgoing import Kind, link
from streamer.membership.tickets import Purpose


@dataclass(frozen=True, slots=True)
class Order:
    """A letter that somebody asked for."""

    to: str
    subject_id: str
    facts: dict[str, str]


Writer = Callable[[Session, Config, Order], Letter | None]


def run(task: Task) -> Outcome:
    """Write and send. What was known of the letter goes with its job's end."""
    wanted = task.claim.payload
    order = Order(wanted["to"], task.subject_id, wanted["facts"])
    letter = _written(task, WRITERS[Kind(wanted["letter"])], order)
    if letter is not None:
        _send(task, order.to, letter)

    def forget(s: Session) -> None:
        s.get_one(Job, task.claim.job_id).payload = {}

    return forget


def _written(task: Task, write: Writer, order: Order) -> Letter | None:
    written: list[Letter | None] = []
    task.write(lambda s: written.append(write(s, task.services.config, order)))
    return written[-1]


def _send(task: Task, to: str, letter: Letter) -> None:
    config = task.services.config
    try:
        mail.open_mailbox(config).send(mail.compose(config.mail.sender, to, letter.subject, letter.text))
    except mail.NotSent as error:
        raise TaskFailed("mail_not_sent", "The letter was not sent", str(error), retryable=error.retryable) from error


def _invitation(s: Session, config: Config, order: Order) -> Letter | None:
    try:
        row = invitations.usable(s, order.subject_id)
    except tickets.LinkInvalid:
        return None
    inviter = s.get(User, row.invited_by) if row.invited_by else None
    lifetime_s = config.accounts.invitation_s
    secret = tickets.issue(s, Purpose.INVITATION, row.id, lifetime_s)
    return letters.invitation(inviter.name if inviter else "", row.role, link(config, "invitation", secret), lifetime_s)


def _sign_up(s: Session, config: Config, order: Order) -> Letter | None:
    if s.scalar(select(User.id).where(User.email == order.to)) is not None:
        taken = users.with_address(s, order.to)
        return letters.sign_up_taken(link(config, "sign-in"), link(config, "forgotten")) if taken else None
    data: dict[str, Any] = {"email": order.to, **order.facts}
    secret = tickets.issue(s, Purpose.SIGN_UP, order.subject_id, config.accounts.confirm_s, data)
    return letters.sign_up(order.facts["name"], link(config, "confirm", secret), config.accounts.confirm_s)


def _verify(s: Session, config: Config, order: Order) -> Letter | None:
    user = users.get(s, order.subject_id)
    if user.email != order.to or user.disabled_at is not None:
        return None
    secret = tickets.issue(s, Purpose.VERIFY, user.id, config.accounts.confirm_s, {"email": order.to})
    return letters.verify(link(config, "confirm", secret), config.accounts.confirm_s)


def _change_address(s: Session, config: Config, order: Order) -> Letter | None:
    user = users.get(s, order.subject_id)
    if user.disabled_at is not None:
        return None
    if s.scalar(select(User.id).where(User.email == order.to)) is not None:
        return letters.change_taken()
    secret = tickets.issue(s, Purpose.CHANGE_ADDRESS, user.id, config.accounts.confirm_s, {"email": order.to})
    return letters.change_address(user.name, link(config, "confirm", secret), config.accounts.confirm_s)


def _address_changed(s: Session, config: Config, order: Order) -> Letter | None:
    return letters.address_changed(order.facts["name"], order.facts["new"])


def _reset(s: Session, config: Config, order: Order) -> Letter | None:
    user = users.with_address(s, order.to)
    if user is None:
        return None
    secret = tickets.issue(s, Purpose.RESET, user.id, config.accounts.reset_s, {"email": order.to})
    return letters.reset(user.name, link(config, "reset", secret), config.accounts.reset_s)


def _password_changed(s: Session, config: Config, order: Order) -> Letter | None:
    return letters.password_changed(order.facts["name"], link(config, "forgotten"))


def _second_factor(s: Session, config: Config, order: Order) -> Letter | None:
    facts = order.facts
    change, left = Notice(facts["change"]), facts.get("left", "")
    return letters.second_factor(facts["name"], change, left, link(config, "account"), link(config, "forgotten"))


def _linked(s: Session, config: Config, order: Order) -> Letter | None:
    return letters.linked(order.facts["name"], order.facts["provider"], link(config, "account"))


def _erased(s: Session, config: Config, order: Order) -> Letter | None:
    return letters.erased(order.facts["name"])


WRITERS: dict[Kind, Writer] = {
    Kind.INVITATION: _invitation,
    Kind.SIGN_UP: _sign_up,
    Kind.VERIFY: _verify,
    Kind.CHANGE_ADDRESS: _change_address,
    Kind.ADDRESS_CHANGED: _address_changed,
    Kind.RESET: _reset,
    Kind.PASSWORD_CHANGED: _password_changed,
    Kind.SECOND_FACTOR: _second_factor,
    Kind.LINKED: _linked,
    Kind.ERASED: _erased,
}
