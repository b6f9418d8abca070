"""A forgotten password: a letter to the account's address, a link, a new password. All login sessions end with it."""

from contextlib import suppress

from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import login_sessions, passwords, users
from streamer.accounts.tables import User
from streamer.errors import Unavailable
from streamer.jobs import queues
from streamer.jobs.tables import Job
from streamer.membership import outgoing, tickets
from streamer.membership.outgoing import Kind
from streamer.membership.tickets import LinkInvalid, Purpose
from streamer.services import Services

_CLOSED_WITH_IT = (Purpose.RESET, Purpose.CHANGE_ADDRESS)
"""What somebody who had the old password may have asked for."""


def ask(services: Services, email: str) -> None:
    """Send a link to the address, if an active account has it. Takes as long if none has."""
    address = users.clean_address(email)
    job = db.retrying(services, lambda s: outgoing.post(s, Kind.RESET, address))
    queues.dispatch(services, [job])


def look(s: Session, secret: str) -> User:
    """Whose password a link sets, or LinkInvalid."""
    return _owner(s, tickets.look(s, secret, Purpose.RESET).subject_id)


def reset(services: Services, secret: str, password: str) -> User:
    """Set the password, end all sessions of the account, and tell its owner."""
    hashed = passwords.hash_password(services.config.accounts, password)

    def write(s: Session) -> tuple[User, list[str], Job]:
        ticket, data = tickets.use(s, secret, Purpose.RESET)
        user = _owner(s, ticket.subject_id)
        if user.email != data["email"]:
            raise LinkInvalid
        users.set_password(s, user, hashed)
        user.email_verified_at = user.email_verified_at or db.now()
        tickets.void(s, user.id, _CLOSED_WITH_IT)
        ended = login_sessions.revoke_all(s, user.id)
        return user, ended, outgoing.post(s, Kind.PASSWORD_CHANGED, user.email, subject_id=user.id, name=user.name)

    user, ended, job = db.retrying(services, write)
    queues.dispatch(services, [job])
    with suppress(Unavailable):  # a Redis that is away answers for no session; the rows say that they ended
        login_sessions.forget(services, ended)
    return user


def _owner(s: Session, user_id: str) -> User:
    user = users.get(s, user_id)
    if user.disabled_at is not None:
        raise LinkInvalid
    return user
