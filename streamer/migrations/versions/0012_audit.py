"""The audit log.

Expand only: a program of before changes things without a word in it.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0012"
down_revision = "0011"

MARIADB = ("mysql", "mariadb")


def exact(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), *MARIADB)


CODE = exact(32)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)
TABLE: dict[str, Any] = {
    f"{database}_{option}": value
    for database in MARIADB
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("id", CODE, nullable=False, unique=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("way", CODE, nullable=False),
        sa.Column("user_id", CODE, nullable=True),
        sa.Column("key_id", CODE, nullable=True),
        sa.Column("address", exact(64), nullable=True),
        sa.Column("request_id", CODE, nullable=True),
        sa.Column("action", exact(64), nullable=False),
        sa.Column("subject_id", CODE, nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.Column("hash", exact(64), nullable=False),
        **TABLE,
    )
    for column in ("user_id", "subject_id", "action"):
        op.create_index(f"ix_audit_entries_{column}_sequence", "audit_entries", [column, "sequence"])
    op.create_index("ix_audit_entries_at", "audit_entries", ["at"])
    heads = op.create_table(
        "audit_heads",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", exact(64), nullable=False),
        **TABLE,
    )
    op.bulk_insert(heads, [{"id": 1, "sequence": 0, "hash": "0" * 64}])


def downgrade() -> None:
    op.drop_table("audit_heads")
    op.drop_table("audit_entries")
