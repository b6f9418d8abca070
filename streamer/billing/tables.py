"""Plans, and the people who have them."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from streamer.accounts.tables import User
from streamer.db import Base, Id, UtcDateTime


class Plan(Base):
    """What somebody may have. Whoever has none has the one that `is_default`, if there is one."""

    __tablename__ = "plans"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    encode_priority: Mapped[int] = mapped_column(SmallInteger)
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PlanHolder(Base):
    """A person with a plan of their own, for whatever reason they have it."""

    __tablename__ = "plan_holders"
    __table_args__ = (Index("ix_plan_holders_plan_id", "plan_id"),)

    user_id: Mapped[str] = mapped_column(Id, ForeignKey(User.id), primary_key=True)
    plan_id: Mapped[str] = mapped_column(Id, ForeignKey(Plan.id))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
