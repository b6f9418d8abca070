"""Rows of accounts. Secrets are never stored: passwords as argon2id, API keys and login cookies as SHA-256 of 256 random bits."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from streamer import cache
from streamer.db import Base, Code, Id, Json, UtcDateTime, exact

_SHA256 = exact(64, ascii_only=True)


class User(Base):
    """A person. `email` is casefolded, and proved theirs since `email_verified_at`; a disabled account can't sign in and its keys and logins are dead.

    What was erased is disabled too, and stays for the ids that point to it; nothing in it says who it was.
    """

    __tablename__ = "users"
    __table_args__ = (Index("ix_users_role_id", "role", "id"), cache.of("people", "id"))

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(exact(254), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(exact(255, ascii_only=True))
    role: Mapped[str] = mapped_column(Code)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    erased_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CustomRole(Base):
    """A role that was made here. The built-in ones are code (`roles.PERMISSIONS`) and never rows."""

    __tablename__ = "roles"
    __table_args__ = cache.of("people")

    name: Mapped[str] = mapped_column(Code, primary_key=True)
    permissions: Mapped[list[str]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApiKey(Base):
    """A bearer key. `scopes` are permissions that narrow the owner's role; `["*"]` narrows nothing."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_user_id_id", "user_id", "id"), cache.of("people", "user_id"))

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(200))
    secret_sha256: Mapped[str] = mapped_column(_SHA256, unique=True)
    scopes: Mapped[list[str]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SecondFactor(Base):
    """An app that shows codes. `secret` is sealed; it counts since `confirmed_at`, and takes codes of half minutes after `last_step` only."""

    __tablename__ = "second_factors"
    __table_args__ = cache.of("people", "user_id")

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"), primary_key=True)
    secret: Mapped[str] = mapped_column(exact(255, ascii_only=True))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_step: Mapped[int] = mapped_column(BigInteger)


class RecoveryCode(Base):
    """What opens once when the app is lost."""

    __tablename__ = "recovery_codes"
    __table_args__ = (Index("uq_recovery_codes_user_id_code_sha256", "user_id", "code_sha256", unique=True),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"))
    code_sha256: Mapped[str] = mapped_column(_SHA256)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LoginSession(Base):
    """One sign-in of one browser. The row outlives Redis, so that a restart of Redis signs nobody out.

    `second_factor`: an identity provider vouches for one that counts."""

    __tablename__ = "login_sessions"
    __table_args__ = (
        Index("ix_login_sessions_user_id_id", "user_id", "id"),
        Index("ix_login_sessions_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"))
    secret_sha256: Mapped[str] = mapped_column(_SHA256, unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    user_agent: Mapped[str] = mapped_column(String(300))
    address: Mapped[str] = mapped_column(exact(64, ascii_only=True))
    second_factor: Mapped[bool] = mapped_column(default=False, server_default=false())


class AuditEntry(Base):
    """Who changed what. Rows are only ever added; `hash` covers the row and the hash of the one before.

    `personal` has what stands behind commitments in `address`, `before` and `after` (see `accounts.personal`); it is all that ever changes, by being erased.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_user_id_sequence", "user_id", "sequence"),
        Index("ix_audit_entries_subject_id_sequence", "subject_id", "sequence"),
        Index("ix_audit_entries_action_sequence", "action", "sequence"),
        Index("ix_audit_entries_at", "at"),
        Index("ix_audit_entries_person_id", "person_id"),
    )

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(Id, unique=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    way: Mapped[str] = mapped_column(Code)
    user_id: Mapped[str | None] = mapped_column(Id)
    key_id: Mapped[str | None] = mapped_column(Id)
    address: Mapped[str | None] = mapped_column(exact(64, ascii_only=True))
    request_id: Mapped[str | None] = mapped_column(Code)
    action: Mapped[str] = mapped_column(exact(64, ascii_only=True))
    subject_id: Mapped[str] = mapped_column(Id)
    person_id: Mapped[str | None] = mapped_column(Id)
    before: Mapped[dict[str, Any] | None] = mapped_column(Json)
    after: Mapped[dict[str, Any] | None] = mapped_column(Json)
    personal: Mapped[dict[str, list[str] | None] | None] = mapped_column(Json)
    hash: Mapped[str] = mapped_column(_SHA256)


class AuditHead(Base):
    """The one row whose lock puts writers in line: the last entry's number and hash."""

    __tablename__ = "audit_heads"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(_SHA256)


class IdempotencyKey(Base):
    """A request that is done once, see `idempotency`. `acted_at` is written with what it does, `status` and the sealed `answer` after it."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("uq_idempotency_keys_user_id_key_sha256", "user_id", "key_sha256", unique=True),
        Index("ix_idempotency_keys_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey(User.id))
    key_sha256: Mapped[str] = mapped_column(_SHA256)
    fingerprint: Mapped[str] = mapped_column(_SHA256)
    holder: Mapped[str] = mapped_column(Id)
    held_until: Mapped[datetime] = mapped_column(UtcDateTime)
    acted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    status: Mapped[int | None] = mapped_column()
    location: Mapped[str | None] = mapped_column(String(255))
    answer: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
