"""More doors for uploads: imports by URL, duplicates that are held back, warnings while bytes arrive.

Expand only: a program of before keeps every upload and knows no import.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"

MARIADB = ("mysql", "mariadb")
CODE = sa.String(32).with_variant(mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), *MARIADB)


def upgrade() -> None:
    op.add_column("uploads", sa.Column("title", sa.String(255), nullable=True))
    op.add_column("uploads", sa.Column("policy", CODE, nullable=True))
    op.add_column("uploads", sa.Column("on_duplicate", CODE, nullable=False, server_default="keep"))
    op.add_column("uploads", sa.Column("duplicate_of", CODE, nullable=True))
    op.add_column("uploads", sa.Column("warning", sa.JSON(), nullable=True))
    op.create_index("ix_versions_source_sha256", "versions", ["source_sha256"])
    op.create_table(
        "imports",
        sa.Column("id", CODE, sa.ForeignKey("uploads.id"), primary_key=True),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("validator", sa.String(255), nullable=True),
        sa.Column("holder", sa.String(255), nullable=True),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_unicode_520_ci",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_unicode_520_ci",
    )


def downgrade() -> None:
    op.drop_table("imports")
    op.drop_index("ix_versions_source_sha256", "versions")
    for column in ("warning", "duplicate_of", "on_duplicate", "policy", "title"):
        op.drop_column("uploads", column)
