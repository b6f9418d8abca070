"""Links that need nothing but a yes: signing up, proving an address, changing it."""

from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts.tables import User
from streamer.jobs import queues
from streamer.jobs.tables import Job
from streamer.membership import addresses, signups, tickets
from streamer.membership.tickets import Purpose
from streamer.services import Services

PURPOSES = (Purpose.SIGN_UP, Purpose.VERIFY, Purpose.CHANGE_ADDRESS)


def look(s: Session, secret: str) -> tuple[Purpose, str]:
    """What the link would confirm, and which address; LinkInvalid when it would nothing."""
    ticket = tickets.look(s, secret, *PURPOSES)
    return Purpose(ticket.purpose), (ticket.data or {})["email"]


def confirm(services: Services, secret: str) -> tuple[Purpose, User]:
    """Do what the link is for: what that was, and whose account it was done to."""

    def write(s: Session) -> tuple[Purpose, User, list[Job]]:
        purpose, _ = look(s, secret)
        if purpose is Purpose.SIGN_UP:
            return purpose, signups.confirm(s, services, secret), []
        if purpose is Purpose.VERIFY:
            return purpose, addresses.verify(s, secret), []
        user, job = addresses.change(s, secret)
        return purpose, user, [job]

    purpose, user, letters = db.retrying(services, write)
    queues.dispatch(services, letters)
    return purpose, user
