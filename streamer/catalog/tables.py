"""The catalog's rows. An asset is a film with an owner and a title; a version is one encode of one source of it; renditions are its parts."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from streamer import cache
from streamer.accounts.tables import User
from streamer.db import Base, Code, Id, Json, UtcDateTime, exact


class Publication(StrEnum):
    """Who may find the film; only `published` is listed for everyone."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    SCHEDULED = "scheduled"
    PUBLISHED = "published"
    UNLISTED = "unlisted"
    ARCHIVED = "archived"
    REMOVED = "removed"


OUT = frozenset({Publication.PUBLISHED, Publication.UNLISTED})
"""The states in which a film is there for others than its owner and those who see assets in every state."""


class Processing(StrEnum):
    """How far the making of a version is."""

    QUEUED = "queued"
    PROBING = "probing"
    ENCODING = "encoding"
    PACKAGING = "packaging"
    READY = "ready"
    ERRORED = "errored"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """How much of a version plays: `start` one rendition, `grow` all of them, both as far as they are made; `final` all of everything."""

    START = "start"
    GROW = "grow"
    FINAL = "final"


class Policy(StrEnum):
    """`public` plays for anyone who has the playback id, `private` for those who may see the asset."""

    PUBLIC = "public"
    PRIVATE = "private"


class Asset(Base):
    """A film. `live_version_id` is the one pointer that decides what plays; `deleted_at` is a tombstone, `purged_at` when its objects were gone.

    `passed_over_id` is the newest version there was when somebody chose the live one by hand: none of those takes its place by itself."""

    __tablename__ = "assets"
    __table_args__ = (
        Index("ix_assets_deleted_at_id", "deleted_at", "id"),
        Index("ix_assets_owner_id_deleted_at_id", "owner_id", "deleted_at", "id"),
        cache.of("films", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    owner_id: Mapped[str] = mapped_column(Id, ForeignKey(User.id))
    title: Mapped[str] = mapped_column(String(255))
    publication: Mapped[str] = mapped_column(Code, default=Publication.PUBLISHED)
    live_version_id: Mapped[str | None] = mapped_column(
        Id, ForeignKey("versions.id", use_alter=True, name="fk_assets_live_version_id_versions")
    )
    passed_over_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    purged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TitleWord(Base):
    """What a title is found by, written by `search`: one row for each beginning of each of its words."""

    __tablename__ = "title_words"
    __table_args__ = (
        Index("ix_title_words_asset_id", "asset_id"),
        Index("ix_title_words_owner_id_word_asset_id", "owner_id", "word", "asset_id"),
    )

    word: Mapped[str] = mapped_column(exact(16), primary_key=True)
    asset_id: Mapped[str] = mapped_column(Id, ForeignKey("assets.id"), primary_key=True)
    owner_id: Mapped[str] = mapped_column(Id)


class Version(Base):
    """One encode of one source, which several may share. `path` is the folder of its package (`versions.folder`), known once it is planned;
    `available_s` is how much of it plays. `options` differ from the server's settings (`again.Options`), `created_by` is a user.
    `deleted_at` is a tombstone, `purged_at` when its objects were gone."""

    __tablename__ = "versions"
    __table_args__ = (
        Index("ix_versions_asset_id_id", "asset_id", "id"),
        Index("ix_versions_source_sha256", "source_sha256"),
        Index("ix_versions_deleted_at_id", "deleted_at", "id"),
        cache.of("films", "asset_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    asset_id: Mapped[str] = mapped_column(Id, ForeignKey("assets.id"))
    path: Mapped[str | None] = mapped_column(exact(255, ascii_only=True), unique=True)
    source_key: Mapped[str] = mapped_column(exact(255, ascii_only=True))
    source_name: Mapped[str] = mapped_column(String(255))
    source_size: Mapped[int] = mapped_column(BigInteger)
    source_sha256: Mapped[str] = mapped_column(exact(64, ascii_only=True))
    processing: Mapped[str] = mapped_column(Code, default=Processing.QUEUED)
    playable: Mapped[bool] = mapped_column(default=False)
    stage: Mapped[str | None] = mapped_column(Code)
    available_s: Mapped[float | None] = mapped_column(Double)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    report: Mapped[dict[str, Any] | None] = mapped_column(Json)
    duration_s: Mapped[float | None] = mapped_column(Double)
    width: Mapped[int | None] = mapped_column()
    height: Mapped[int | None] = mapped_column()
    poster: Mapped[bool] = mapped_column(default=False)
    options: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_by: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    published_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    purged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Rendition(Base):
    """One playlist of a version: `kind` is video, audio or text; bandwidths in bit/s, `size` in bytes."""

    __tablename__ = "renditions"
    __table_args__ = (Index("ix_renditions_version_id", "version_id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    version_id: Mapped[str] = mapped_column(Id, ForeignKey("versions.id"))
    kind: Mapped[str] = mapped_column(Code)
    name: Mapped[str] = mapped_column(String(64))
    width: Mapped[int | None] = mapped_column()
    height: Mapped[int | None] = mapped_column()
    frame_rate: Mapped[str | None] = mapped_column(String(24))
    codecs: Mapped[str] = mapped_column(String(64))
    bandwidth: Mapped[int] = mapped_column()
    average_bandwidth: Mapped[int] = mapped_column()
    language: Mapped[str | None] = mapped_column(String(35))
    size: Mapped[int] = mapped_column(BigInteger)


class PlaybackId(Base):
    """A public name an asset is played by. There may be several, each with its own policy; a revoked one opens nothing new."""

    __tablename__ = "playback_ids"
    __table_args__ = (Index("ix_playback_ids_asset_id", "asset_id"), cache.of("films", "asset_id"))

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    asset_id: Mapped[str] = mapped_column(Id, ForeignKey("assets.id"))
    policy: Mapped[str] = mapped_column(Code, default=Policy.PRIVATE)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
