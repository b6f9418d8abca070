"""The rows of what comes in."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from streamer.accounts.tables import User
from streamer.catalog.tables import Asset
from streamer.db import Base, Code, Id, Json, UtcDateTime, exact


class UploadState(StrEnum):
    """`receiving` has bytes in the upload store, `held` waits in storage for a decision, `received` is an asset's source, `failed` has nothing left."""

    RECEIVING = "receiving"
    HELD = "held"
    RECEIVED = "received"
    FAILED = "failed"


class OnDuplicate(StrEnum):
    """What happens to bytes that are a film's already: another film, or a question to the sender.

    `offer` looks among the sender's own films, `offer_any` among everyone's, for those who may list them.
    """

    KEEP = "keep"
    OFFER = "offer"
    OFFER_ANY = "offer_any"


class Upload(Base):
    """One file on its way in. `filename` is what the client said and never a path; `source_key` is where the bytes will stand in storage.

    `replaces` is the film that it becomes a version of. `title` is empty where the file's name will give one. `duplicate_of` is the asset that a held upload equals; `warning` is what a look at
    the first bytes told.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        Index("ix_uploads_state_updated_at", "state", "updated_at"),
        Index("ix_uploads_user_id_id", "user_id", "id"),
        Index("ix_uploads_user_id_state_id", "user_id", "state", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey(User.id))
    asset_id: Mapped[str | None] = mapped_column(Id, ForeignKey(Asset.id))
    filename: Mapped[str] = mapped_column(String(255))
    declared_size: Mapped[int | None] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[str] = mapped_column(Code, default=UploadState.RECEIVING)
    sha256: Mapped[str | None] = mapped_column(exact(64, ascii_only=True))
    source_key: Mapped[str] = mapped_column(exact(255, ascii_only=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    replaces: Mapped[str | None] = mapped_column(Id)
    title: Mapped[str | None] = mapped_column(String(255))
    policy: Mapped[str | None] = mapped_column(Code)
    on_duplicate: Mapped[str] = mapped_column(Code, default=OnDuplicate.KEEP, server_default=OnDuplicate.KEEP)
    duplicate_of: Mapped[str | None] = mapped_column(Id)
    warning: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TusUpload(Base):
    """What a resumable upload has beyond `Upload`. `described` is the client's Upload-Metadata as it came; `parts` are the ids, with spaces
    between, of the partial uploads that make this one. One with a `part_size`, in bytes, comes in parts by signed URL and not by tus."""

    __tablename__ = "tus_uploads"

    id: Mapped[str] = mapped_column(Id, ForeignKey(Upload.id), primary_key=True)
    title: Mapped[str] = mapped_column(String(255))
    policy: Mapped[str] = mapped_column(Code)
    described: Mapped[str | None] = mapped_column(Text)
    partial: Mapped[bool] = mapped_column(default=False)
    parts: Mapped[str | None] = mapped_column(Text)
    part_size: Mapped[int | None] = mapped_column(BigInteger)


class Import(Base):
    """What an upload that is fetched from a URL has beyond `Upload`.

    `validator` is the ETag or date of the file that the bytes received so far are from; `holder` is the machine and folder that has them.
    """

    __tablename__ = "imports"

    id: Mapped[str] = mapped_column(Id, ForeignKey(Upload.id), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    validator: Mapped[str | None] = mapped_column(String(255))
    holder: Mapped[str | None] = mapped_column(String(255))
