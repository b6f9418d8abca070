"""A new password, whether somebody changes the one they have or has forgotten it: what ends with the old one is the same."""

from contextlib import suppress

from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import login_sessions, passwords, users
from streamer.accounts.tables import User
from streamer.errors import Invalid, Unavailable
from streamer.jobs import queues
from streamer.jobs.tables import Job
from streamer.membership import outgoing, tickets
from streamer.membership.outgoing import Kind
from streamer.membership.tickets import Purpose
from streamer.services import Services

_CLOSED_WITH_IT = (Purpose.RESET, Purpose.CHANGE_ADDRESS)
"""What somebody who had the old password may have asked for."""


def change(services: Services, user_id: str, old: str, new: str) -> User:
    """Another password for whoever has just proved the old one. All sessions end, this one too: the caller starts a new one."""
    if new == old:
        detail = "is the one you have"
        raise Invalid(f"The new password {detail}.", errors=[{"pointer": "/new_password", "detail": detail}])
    hashed = passwords.hash_password(services.config.accounts, new, field="new_password")

    def write(s: Session) -> tuple[User, list[str], Job]:
        user = users.get(s, user_id)
        return user, *put(s, user, hashed)

    user, ended, letter = db.retrying(services, write)
    finish(services, ended, letter)
    return user


def put(s: Session, user: User, hashed: str) -> tuple[list[str], Job]:
    """The same inside the caller's transaction; after the commit its answer is for `finish`."""
    users.set_password(s, user, hashed)
    tickets.void(s, user.id, _CLOSED_WITH_IT)
    ended = login_sessions.revoke_all(s, user.id)
    return ended, outgoing.post(s, Kind.PASSWORD_CHANGED, user.email, subject_id=user.id, name=user.name)


def finish(services: Services, ended: list[str], letter: Job) -> None:
    """Tell the owner, and Redis of the sessions that are over."""
    queues.dispatch(services, [letter])
    with suppress(Unavailable):  # a Redis that is away answers for no session; the rows say that they ended
        login_sessions.forget(services, ended)
