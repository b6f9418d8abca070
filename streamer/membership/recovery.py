"""A forgotten password: a letter to the account's address, a link, a new password. All login sessions end with it."""

from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import passwords, users
from streamer.accounts.tables import User
from streamer.jobs import queues
from streamer.jobs.tables import Job
from streamer.membership import outgoing, own_password, tickets
from streamer.membership.outgoing import Kind
from streamer.membership.tickets import LinkInvalid, Purpose
from streamer.services import Services


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
        user.email_verified_at = user.email_verified_at or db.now()
        return user, *own_password.put(s, user, hashed)

    user, ended, letter = db.retrying(services, write)
    own_password.finish(services, ended, letter)
    return user


def _owner(s: Session, user_id: str) -> User:
    user = users.get(s, user_id)
    if user.disabled_at is not None:
        raise LinkInvalid
    return user
