"""Resumable uploads: what tus has to remember of each.

Expand only: a program of before doesn't look.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

MARIADB = ("mysql", "mariadb")
CODE = sa.String(32).with_variant(mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), *MARIADB)


def upgrade() -> None:
    op.create_table(
        "tus_uploads",
        sa.Column("id", CODE, sa.ForeignKey("uploads.id"), primary_key=True),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("policy", CODE, nullable=False),
        sa.Column("described", sa.Text(), nullable=True),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("parts", sa.Text(), nullable=True),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_unicode_520_ci",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_unicode_520_ci",
    )


def downgrade() -> None:
    op.drop_table("tus_uploads")
