"""Collections, the films in them, and who may do what there."""

from datetime import datetime
from enum import IntEnum

from sqlalchemy import ForeignKey, Index, SmallInteger, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from streamer.accounts.tables import User
from streamer.catalog.tables import Asset
from streamer.db import Base, Id, UtcDateTime, exact


class Access(IntEnum):
    """What a grant allows, each all of those before it: see and play the films, add one's own, change and order all of them, everything."""

    VIEW = 1
    CONTRIBUTE = 2
    EDIT = 3
    MANAGE = 4


class Collection(Base):
    """Films in an order, under a name. Its owner has a grant too, which stays."""

    __tablename__ = "collections"
    __table_args__ = (Index("ix_collections_owner_id_id", "owner_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    owner_id: Mapped[str] = mapped_column(Id, ForeignKey(User.id))
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(String(2000))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CollectionFilm(Base):
    """A film in a collection, at its `place`, from 1 on."""

    __tablename__ = "collection_films"
    __table_args__ = (
        Index("ix_collection_films_collection_id_place", "collection_id", "place"),
        Index("ix_collection_films_asset_id", "asset_id"),
    )

    collection_id: Mapped[str] = mapped_column(Id, ForeignKey(Collection.id), primary_key=True)
    asset_id: Mapped[str] = mapped_column(Id, ForeignKey(Asset.id), primary_key=True)
    place: Mapped[int] = mapped_column()
    added_by: Mapped[str] = mapped_column(Id)
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Grant(Base):
    """What a person (`usr_…`) or everybody with a role (`role:editor`) may do in a collection."""

    __tablename__ = "collection_grants"
    __table_args__ = (
        UniqueConstraint("collection_id", "grantee", name="uq_collection_grants_collection_id_grantee"),
        Index("ix_collection_grants_grantee_collection_id", "grantee", "collection_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[str] = mapped_column(Id, ForeignKey(Collection.id))
    grantee: Mapped[str] = mapped_column(exact(64, ascii_only=True))
    level: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
