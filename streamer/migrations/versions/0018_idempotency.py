"""Requests that are done once.

Expand only: a program of before does each of them again.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0018"
down_revision = "0017"

MARIADB = ("mysql", "mariadb")


def exact(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), *MARIADB)


CODE = exact(32)
HASH = exact(64)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)
TABLE: dict[str, Any] = {
    f"{database}_{option}": value
    for database in MARIADB
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("id", CODE, primary_key=True),
        sa.Column("user_id", CODE, sa.ForeignKey("users.id", name="fk_idempotency_keys_user_id"), nullable=False),
        sa.Column("key_sha256", HASH, nullable=False),
        sa.Column("fingerprint", HASH, nullable=False),
        sa.Column("holder", CODE, nullable=False),
        sa.Column("held_until", TIME, nullable=False),
        sa.Column("acted_at", TIME, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("location", sa.String(255), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        **TABLE,
    )
    columns = ["user_id", "key_sha256"]
    op.create_index("uq_idempotency_keys_user_id_key_sha256", "idempotency_keys", columns, unique=True)
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
