"""Roles that one process holds at a time, by rows and the database's clock."""

from sqlalchemy import CursorResult, delete, insert, or_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from streamer.db import database_now
from streamer.jobs.tables import Lease


def take(s: Session, name: str, owner: str, lease_s: float) -> bool:
    """Take or keep the role for `lease_s` seconds; False while another owner's lease runs."""
    free = or_(Lease.owner == owner, Lease.until < database_now())
    statement = update(Lease).where(Lease.name == name, free).values(owner=owner, until=database_now(lease_s))
    result = s.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount == 1 or _first(s, name, owner, lease_s)


def give_back(s: Session, name: str, owner: str) -> None:
    """Let the next one take it at once."""
    s.execute(delete(Lease).where(Lease.name == name, Lease.owner == owner))


def _first(s: Session, name: str, owner: str, lease_s: float) -> bool:
    try:
        with s.begin_nested():
            s.execute(insert(Lease).values(name=name, owner=owner, until=database_now(lease_s)))
    except IntegrityError:
        return False
    return True
