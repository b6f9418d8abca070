"""Uploads that grow in object storage: who writes to one and what of it counts; uploads whose parts come by signed URL.

Expand only: a program of before keeps uploads on its disk.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "0007"
down_revision = "0006"

MARIADB = ("mysql", "mariadb")
TABLE: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in MARIADB
    for name, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}


def ascii_exact(length: int) -> TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), *MARIADB)


ID = CODE = ascii_exact(32)
KEY = ascii_exact(255)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)


def upgrade() -> None:
    op.create_table(
        "stored_uploads",
        sa.Column("id", ID, primary_key=True),
        sa.Column("key", KEY, nullable=False),
        sa.Column("handle", sa.Text(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("claimed", sa.Integer(), nullable=False),
        sa.Column("owner", ID, nullable=True),
        sa.Column("until", TIME, nullable=True),
        sa.Column("wish", CODE, nullable=True),
        sa.Column("ended", sa.Boolean(), nullable=False),
        **TABLE,
    )
    op.create_table(
        "stored_pieces",
        sa.Column("upload_id", ID, primary_key=True),
        sa.Column("start", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("etag", KEY, nullable=False),
        sa.Column("key", KEY, nullable=False),
        **TABLE,
    )
    op.add_column("tus_uploads", sa.Column("part_size", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("tus_uploads", "part_size")
    op.drop_table("stored_pieces")
    op.drop_table("stored_uploads")
