"""What membership holds of a person: invitations, links that are open, letters on their way. See `accounts.holdings`."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from streamer import http
from streamer.accounts.holdings import Erasure, Section
from streamer.jobs import jobs
from streamer.jobs.tables import Job, State
from streamer.membership import outgoing
from streamer.membership.tables import Invitation, ProviderLink, Ticket

COLUMNS = (
    "invitations.email",
    "invitations.user_id",
    "invitations.invited_by",
    "tickets.subject_id",
    "provider_links.user_id",
    "jobs.subject_id",
)


def export(s: Session, user_id: str) -> Iterable[Section]:
    """The invitation they came by, those they sent, and which links are open."""
    rows = s.scalars(select(Invitation).where(or_(Invitation.user_id == user_id, Invitation.invited_by == user_id)))
    yield "invitations", (_invitation(row, row.user_id == user_id) for row in rows)
    known = s.scalars(select(ProviderLink).where(ProviderLink.user_id == user_id))
    yield "providers", ({"provider": row.provider, "issuer": row.issuer, "subject": row.subject} for row in known)
    links = s.scalars(select(Ticket).where(Ticket.subject_id == user_id))
    yield "links", ({"purpose": row.purpose, "expires_at": http.time(row.expires_at)} for row in links)


def erase(s: Session, erasure: Erasure) -> None:
    """Also invitations to the address that were never used, and letters that were not sent."""
    user = erasure.user
    theirs = s.scalars(
        select(Invitation.id).where(or_(Invitation.user_id == user.id, Invitation.email == user.email))
    ).all()
    erasure.others += theirs
    s.execute(delete(ProviderLink).where(ProviderLink.user_id == user.id))
    s.execute(delete(Ticket).where(Ticket.subject_id.in_([user.id, *theirs])))
    s.execute(delete(Invitation).where(Invitation.id.in_(theirs)))
    for job in s.scalars(select(Job).where(Job.kind == outgoing.KIND, Job.state != State.SUCCEEDED)).all():
        if job.payload.get("to") == user.email or job.subject_id == user.id:
            _forget(s, job)


def _forget(s: Session, job: Job) -> None:
    if job.state in (State.QUEUED, State.RUNNING):
        jobs.cancel(s, job.id)
    job.payload = {}


def _invitation(row: Invitation, is_own: bool) -> dict[str, Any]:
    """Whom they invited is somebody else's to know."""
    return {
        "id": row.id,
        "email": row.email if is_own else None,
        "role": row.role,
        "invited_by": row.invited_by,
        "created_at": http.time(row.created_at),
        "accepted_at": http.time(row.accepted_at),
        "revoked_at": http.time(row.revoked_at),
    }
