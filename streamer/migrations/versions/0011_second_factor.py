"""Second factors of signing in.

Expand only: a program of before asks for passwords alone.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0011"
down_revision = "0010"

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
        "second_factors",
        sa.Column("user_id", CODE, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("secret", exact(255), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("confirmed_at", TIME, nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        **TABLE,
    )
    op.create_table(
        "recovery_codes",
        sa.Column("id", CODE, primary_key=True),
        sa.Column("user_id", CODE, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("code_sha256", exact(64), nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        **TABLE,
    )
    op.create_index("uq_recovery_codes_user_id_code_sha256", "recovery_codes", ["user_id", "code_sha256"], unique=True)


def downgrade() -> None:
    op.drop_table("recovery_codes")
    op.drop_table("second_factors")
