"""Roles that administrators make.

Expand only: a program of before knows the built-in roles, and lets people with any other one do nothing.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"

MARIADB = ("mysql", "mariadb")
CODE = sa.String(32).with_variant(mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), *MARIADB)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)
TABLE: dict[str, Any] = {
    f"{database}_{option}": value
    for database in MARIADB
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}


def upgrade() -> None:
    op.create_table(
        "roles",
        sa.Column("name", CODE, primary_key=True),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("roles")
