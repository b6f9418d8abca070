"""Rows that nobody needs any more: removed oldest first and a few at a time, so that no table only ever grows and nobody waits for a sweep.

What is old is looked for without a lock, by an index on its moment; then so many rows go by their primary keys, in a short transaction. A sweep that
leaves some takes them with the next one.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import InstrumentedAttribute

from streamer import db
from streamer.services import Services

MOST = 500
"""Rows that go in one sweep."""


def before(days: int) -> datetime:
    """The moment so many days ago."""
    return db.now() - timedelta(days=days)


def purge(
    services: Services, key: InstrumentedAttribute[str], moment: InstrumentedAttribute[datetime], until: datetime
) -> int:
    """Remove rows whose `moment`, a column with an index, is before `until`; how many that were. `key` is the table's primary key."""
    with db.reading(services) as s:
        old = s.scalars(select(key).where(moment < until).order_by(moment).limit(MOST)).all()
    if old:
        still = key.in_(old), moment < until
        db.retrying(services, lambda s: s.execute(delete(key.class_).where(*still)))
    return len(old)
