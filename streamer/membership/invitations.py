"""Invitations: an address, a role, and a letter with a link that makes the account. Inviting an address again replaces what was sent before.

An invitation ends with its use, its time, its withdrawal, and with the account of whoever sent it: somebody who is shut out has no friends to leave behind.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from sqlalchemy import ColumnElement, CursorResult, delete, select, update
from sqlalchemy.orm import Session

from streamer import db, ids, retention
from streamer.accounts import audit, passwords, rolebook, users
from streamer.accounts.rolebook import Held
from streamer.accounts.tables import User
from streamer.errors import Conflict, Forbidden, Invalid, NotFound
from streamer.jobs import queues
from streamer.jobs.tables import Job
from streamer.membership import outgoing, tickets
from streamer.membership.outgoing import Kind
from streamer.membership.tables import Invitation
from streamer.membership.tickets import LinkInvalid, Purpose
from streamer.services import Services

_PURGED = 50  # each is a transaction of its own


def invite(services: Services, email: str, role: str, *, by: str | None, held: Held) -> Invitation:
    """Send one; `by` and `held` are who invites and what they may do (None: the command line, everything)."""
    if services.config.accounts.sign_up == "closed":
        raise Forbidden(
            'Nobody is invited here: accounts.sign_up is "closed". Add the person with a password, or change the setting.',
            code="sign_up_closed",
        )
    address = users.clean_address(email)

    def write(s: Session) -> tuple[Invitation, Job]:
        row = _made(s, services, address, role, by, held)
        return row, outgoing.post(s, Kind.INVITATION, address, subject_id=row.id)

    row, job = db.retrying(services, write)
    queues.dispatch(services, [job])
    return row


def pending(s: Session) -> Sequence[Invitation]:
    """Those that can be accepted, newest first."""
    return s.scalars(select(Invitation).where(*_open()).order_by(Invitation.id.desc())).all()


def revoke(s: Session, invitation_id: str) -> None:
    """Withdraw one. NotFound when there is none; twice is fine, Conflict when somebody came by it."""
    row = s.get(Invitation, invitation_id, with_for_update=True) if ids.is_id(invitation_id) else None
    if row is None:
        raise NotFound(f"There is no invitation {invitation_id[:40]}.")
    if row.accepted_at is not None:
        raise Conflict("It was accepted. Shut the account out instead.", code="invitation_accepted")
    if row.revoked_at is None:
        row.revoked_at = db.now()
        audit.record(s, "invitation.revoke", row.id, before={"email": row.email, "role": row.role}, person=row.id)


def look(s: Session, secret: str) -> Invitation:
    """The invitation that a link belongs to, or LinkInvalid."""
    return usable(s, tickets.look(s, secret, Purpose.INVITATION).subject_id)


def usable(s: Session, invitation_id: str) -> Invitation:
    """One that can be accepted, held until the transaction ends; else LinkInvalid."""
    row = s.scalars(select(Invitation).where(Invitation.id == invitation_id, *_open()).with_for_update()).one_or_none()
    inviter = s.get(User, row.invited_by) if row is not None and row.invited_by else None
    if row is None or (inviter is not None and inviter.disabled_at is not None):
        raise LinkInvalid
    return row


def accept(services: Services, secret: str, *, name: str, password: str) -> User:
    """The account that was promised. Its address is proved: the letter came there."""
    called, hashed = users.clean_name(name), passwords.hash_password(services.config.accounts, password)

    def write(s: Session) -> User:
        ticket, _ = tickets.use(s, secret, Purpose.INVITATION)
        row = usable(s, ticket.subject_id)
        _check_role(s, row)
        user = users.add(s, email=row.email, name=called, role=row.role, password_hash=hashed, verified=True)
        row.accepted_at, row.user_id = db.now(), user.id
        audit.record(s, "invitation.accept", row.id, after={"user_id": user.id}, by=user.id)
        return user

    return db.retrying(services, write)


def purge(services: Services) -> int:
    """A chore: remove those that nobody accepted and that ended long ago, and erase whom they were for from the audit log; how many that were."""
    until = retention.before(services.config.retention.invitations_days)
    old = Invitation.accepted_at.is_(None), Invitation.expires_at < until
    with db.reading(services) as s:
        found = s.scalars(select(Invitation.id).where(*old).order_by(Invitation.expires_at).limit(_PURGED)).all()
    for invitation_id in found:
        db.retrying(services, partial(_forget, invitation_id=invitation_id, still=old))
    return len(found)


def _forget(s: Session, invitation_id: str, still: tuple[ColumnElement[bool], ...]) -> None:
    gone = s.execute(delete(Invitation).where(Invitation.id == invitation_id, *still))
    assert isinstance(gone, CursorResult)
    if gone.rowcount:
        audit.erase(s, invitation_id, (), after={"because": "old"})


def _made(s: Session, services: Services, email: str, role: str, by: str | None, held: Held) -> Invitation:
    rolebook.check_gift(s, role, held)
    if s.scalar(select(User.id).where(User.email == email)) is not None:
        raise Conflict(f"There is an account for {email} already.", code="email_taken")
    now = db.now()
    s.execute(update(Invitation).where(Invitation.email == email, *_open()).values(revoked_at=now))
    row = Invitation(
        id=ids.new("inv"),
        email=email,
        role=role,
        invited_by=by,
        created_at=now,
        expires_at=now + timedelta(seconds=services.config.accounts.invitation_s),
    )
    s.add(row)
    s.flush()
    audit.record(s, "invitation.create", row.id, after={"email": email, "role": role}, person=row.id)
    return row


def _check_role(s: Session, row: Invitation) -> None:
    """That it may still be given, and by whoever gave it: they may have lost rights since."""
    inviter = s.get(User, row.invited_by) if row.invited_by else None
    try:
        rolebook.check_gift(s, row.role, rolebook.permissions(s, inviter.role) if inviter else None)
    except (Invalid, Forbidden):
        raise Conflict(
            f"The role {row.role} can't be had by this invitation any more. Ask for another one.", code="role_gone"
        ) from None


def _open() -> tuple[ColumnElement[bool], ...]:
    return Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None), Invitation.expires_at > db.now()
