"""Rows of membership. The secret of a link is never stored, only its SHA-256."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from streamer.accounts.tables import User
from streamer.db import Base, Code, Id, Json, UtcDateTime, exact


class Ticket(Base):
    """What a link in a letter opens, once. `data` is emptied with its use."""

    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_tickets_subject_id_purpose", "subject_id", "purpose"),
        Index("ix_tickets_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    purpose: Mapped[str] = mapped_column(Code)
    subject_id: Mapped[str] = mapped_column(Id)
    secret_sha256: Mapped[str] = mapped_column(exact(64, ascii_only=True), unique=True)
    data: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Invitation(Base):
    """Somebody may make an account with this address and this role. `user_id` is who they became."""

    __tablename__ = "invitations"
    __table_args__ = (
        Index("ix_invitations_email", "email"),
        Index("ix_invitations_accepted_at_expires_at", "accepted_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(exact(254))
    role: Mapped[str] = mapped_column(Code)
    invited_by: Mapped[str | None] = mapped_column(Id, ForeignKey(User.id))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    accepted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    user_id: Mapped[str | None] = mapped_column(Id, ForeignKey(User.id))


class ProviderLink(Base):
    """Somebody's account at an identity provider, by which they sign in here. The issuer's `subject` never changes hands; addresses do."""

    __tablename__ = "provider_links"
    __table_args__ = (
        Index("ix_provider_links_user_id", "user_id"),
        Index("uq_provider_links_issuer_subject", "issuer", "subject", unique=True),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey(User.id))
    provider: Mapped[str] = mapped_column(Code)
    issuer: Mapped[str] = mapped_column(exact(255, ascii_only=True))
    subject: Mapped[str] = mapped_column(exact(255, ascii_only=True))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)
