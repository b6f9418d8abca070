"""E-mail addresses: proved by a link, and changed by one that goes to the new address, with word to the old one."""

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import audit, users
from streamer.accounts.tables import User
from streamer.errors import Conflict
from streamer.jobs import queues
from streamer.jobs.tables import Job
from streamer.membership import outgoing, tickets
from streamer.membership.outgoing import Kind
from streamer.membership.tickets import LinkInvalid, Purpose
from streamer.services import Services


def ask_to_verify(services: Services, user_id: str) -> None:
    """Send a link to the address that the account has."""

    def write(s: Session) -> Job:
        return outgoing.post(s, Kind.VERIFY, users.get(s, user_id).email, subject_id=user_id)

    queues.dispatch(services, [db.retrying(services, write)])


def ask_to_change(services: Services, user_id: str, email: str) -> None:
    """Send a link to another address, whoever has it. The caller has asked for the password: a session left open must not lose the account."""
    address = users.clean_address(email)
    job = db.retrying(services, lambda s: outgoing.post(s, Kind.CHANGE_ADDRESS, address, subject_id=user_id))
    queues.dispatch(services, [job])


def verify(s: Session, secret: str) -> User:
    """The account's address is proved."""
    ticket, data = tickets.use(s, secret, Purpose.VERIFY)
    user = _active(s, ticket.subject_id)
    if user.email != data["email"]:
        raise LinkInvalid
    user.email_verified_at = user.email_verified_at or db.now()
    audit.record(s, "user.verify", user.id, after={"email": user.email}, by=user.id, person=user.id)
    return user


def change(s: Session, secret: str) -> tuple[User, Job]:
    """The account has the new address, and the job is the letter to the old one. Links that went to the old one open nothing any more."""
    ticket, data = tickets.use(s, secret, Purpose.CHANGE_ADDRESS)
    user = _active(s, ticket.subject_id)
    old, user.email, user.email_verified_at = user.email, data["email"], db.now()
    try:
        s.flush()
    except IntegrityError:
        raise Conflict(f"There is an account for {data['email']} already.", code="email_taken") from None
    audit.record(
        s, "user.address", user.id, before={"email": old}, after={"email": user.email}, by=user.id, person=user.id
    )
    tickets.void(s, user.id, (Purpose.CHANGE_ADDRESS, Purpose.RESET, Purpose.VERIFY))
    job = outgoing.post(s, Kind.ADDRESS_CHANGED, old, subject_id=user.id, name=user.name, new=user.email)
    return user, job


def _active(s: Session, user_id: str) -> User:
    user = users.get(s, user_id)
    if user.disabled_at is not None:
        raise LinkInvalid
    return user
