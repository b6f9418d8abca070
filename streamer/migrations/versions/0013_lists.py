"""Every list reads an index in its own order, and films are found by words of their titles.

Expand only. A program of before adds films without words: they are found by title after their next change.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from streamer import words

revision = "0013"
down_revision = "0012"

MARIADB = ("mysql", "mariadb")
AT_ONCE = 500


def exact(length: int, charset: str = "ascii") -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset=charset, collation=f"{charset}_bin"), *MARIADB)


TABLE: dict[str, Any] = {
    f"{database}_{option}": value
    for database in MARIADB
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}
NEW: dict[str, tuple[list[str], ...]] = {
    "jobs": (["parent_id", "id"], ["parent_id", "state", "id"], ["owner_id", "parent_id", "id"]),
    "playback_sessions": (["asset_id", "id"],),
    "uploads": (["user_id", "state", "id"],),
    "webhook_deliveries": (["endpoint_id", "id"], ["endpoint_id", "state", "id"]),
    "events": (["type", "sequence"],),
    "users": (["role", "id"],),
}
OLD: dict[str, tuple[list[str], ...]] = {
    "jobs": (["owner_id", "id"],),
    "playback_sessions": (["asset_id", "created_at"],),
}


def upgrade() -> None:
    _create(NEW)
    _drop(OLD)
    table = op.create_table(
        "title_words",
        sa.Column("word", exact(16, "utf8mb4"), primary_key=True),
        sa.Column("asset_id", exact(32), sa.ForeignKey("assets.id", name="fk_title_words_asset_id"), primary_key=True),
        sa.Column("owner_id", exact(32), nullable=False),
        **TABLE,
    )
    op.create_index("ix_title_words_asset_id", "title_words", ["asset_id"])
    op.create_index("ix_title_words_owner_id_word_asset_id", "title_words", ["owner_id", "word", "asset_id"])
    _index_titles(table)


def downgrade() -> None:
    op.drop_table("title_words")
    _create(OLD)
    _drop(NEW)


def _index_titles(table: sa.Table) -> None:
    assets = sa.table("assets", sa.column("id"), sa.column("owner_id"), sa.column("title"), sa.column("deleted_at"))
    there = (
        sa.select(assets.c.id, assets.c.owner_id, assets.c.title)
        .where(assets.c.deleted_at.is_(None))
        .order_by(assets.c.id)
    )
    connection, last = op.get_bind(), ""
    while page := connection.execute(there.where(assets.c.id > last).limit(AT_ONCE)).all():
        rows = [
            {"word": word, "asset_id": key, "owner_id": owner}
            for key, owner, title in page
            for word in words.beginnings(title)
        ]
        if rows:
            connection.execute(sa.insert(table), rows)
        last = page[-1].id


def _create(indexes: dict[str, tuple[list[str], ...]]) -> None:
    for table, columns in _each(indexes):
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def _drop(indexes: dict[str, tuple[list[str], ...]]) -> None:
    for table, columns in _each(indexes):
        op.drop_index(f"ix_{table}_{'_'.join(columns)}", table)


def _each(indexes: dict[str, tuple[list[str], ...]]) -> list[tuple[str, list[str]]]:
    return [(table, columns) for table, all_ in indexes.items() for columns in all_]
