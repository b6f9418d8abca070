"""Collections of films, and who may do what in them.

Expand only: a program of before deletes films without taking them out of collections, which then skip them.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0017"
down_revision = "0016"

MARIADB = ("mysql", "mariadb")


def exact(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), *MARIADB)


ID = exact(32)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)
TABLE: dict[str, Any] = {
    f"{database}_{option}": value
    for database in MARIADB
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}


def upgrade() -> None:
    op.create_table(
        "collections",
        sa.Column("id", ID, primary_key=True),
        sa.Column("owner_id", ID, sa.ForeignKey("users.id", name="fk_collections_owner_id"), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.String(2000), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        **TABLE,
    )
    op.create_index("ix_collections_owner_id_id", "collections", ["owner_id", "id"])
    op.create_table(
        "collection_films",
        _part_of("collection_films", "collection_id", "collections", primary_key=True),
        _part_of("collection_films", "asset_id", "assets", primary_key=True),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("added_by", ID, nullable=False),
        sa.Column("added_at", TIME, nullable=False),
        **TABLE,
    )
    op.create_index("ix_collection_films_collection_id_place", "collection_films", ["collection_id", "place"])
    op.create_index("ix_collection_films_asset_id", "collection_films", ["asset_id"])
    op.create_table(
        "collection_grants",
        sa.Column("id", ID, primary_key=True),
        _part_of("collection_grants", "collection_id", "collections"),
        sa.Column("grantee", exact(64), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.UniqueConstraint("collection_id", "grantee", name="uq_collection_grants_collection_id_grantee"),
        **TABLE,
    )
    op.create_index("ix_collection_grants_grantee_collection_id", "collection_grants", ["grantee", "collection_id"])


def downgrade() -> None:
    for table in ("collection_grants", "collection_films", "collections"):
        op.drop_table(table)


def _part_of(table: str, column: str, other: str, *, primary_key: bool = False) -> sa.Column[str]:
    key = sa.ForeignKey(f"{other}.id", name=f"fk_{table}_{column}")
    return sa.Column(column, ID, key, primary_key=primary_key, nullable=False)
