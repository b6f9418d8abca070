"""Accounts that are linked to identity providers, and sessions that one vouched for.

Expand only: a program of before knows neither, and asks who came by a provider for a second factor of ours.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0016"
down_revision = "0015"

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
        "provider_links",
        sa.Column("id", CODE, primary_key=True),
        sa.Column("user_id", CODE, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("provider", CODE, nullable=False),
        sa.Column("issuer", exact(255), nullable=False),
        sa.Column("subject", exact(255), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        **TABLE,
    )
    op.create_index("ix_provider_links_user_id", "provider_links", ["user_id"])
    op.create_index("uq_provider_links_issuer_subject", "provider_links", ["issuer", "subject"], unique=True)
    op.add_column("login_sessions", sa.Column("second_factor", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("login_sessions", "second_factor")
    op.drop_table("provider_links")
