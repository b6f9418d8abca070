"""Signing up without an invitation. There is no account before the address is confirmed, and nobody learns which addresses have one."""

from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import passwords, users
from streamer.accounts.tables import User
from streamer.errors import Forbidden
from streamer.jobs import queues
from streamer.membership import outgoing, tickets
from streamer.membership.outgoing import Kind
from streamer.membership.tickets import Purpose
from streamer.services import Services


def ask(services: Services, *, email: str, name: str, password: str) -> None:
    """Send a letter to the address: a link if it is free, else the news that it has an account. Takes as long either way."""
    refuse_unless_open(services)
    address, called = users.clean_address(email), users.clean_name(name)
    hashed = passwords.hash_password(services.config.accounts, password)
    facts = {"name": called, "password_hash": hashed}
    job = db.retrying(services, lambda s: outgoing.post(s, Kind.SIGN_UP, address, **facts))
    queues.dispatch(services, [job])


def confirm(s: Session, services: Services, secret: str) -> User:
    """The account. Conflict when somebody made one with this address meanwhile."""
    refuse_unless_open(services)
    _, data = tickets.use(s, secret, Purpose.SIGN_UP)
    role = services.config.accounts.sign_up_role
    return users.add(
        s, email=data["email"], name=data["name"], role=role, password_hash=data["password_hash"], verified=True
    )


def refuse_unless_open(services: Services) -> None:
    """Forbidden when accounts are for those who are invited or added."""
    if services.config.accounts.sign_up != "open":
        raise Forbidden(
            "Nobody signs up here by themselves. Ask an administrator for an account.", code="sign_up_closed"
        )
