"""Invitations, links in letters, and addresses that are proved.

Expand only: a program of before knows none of it.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0010"
down_revision = "0009"

MARIADB = ("mysql", "mariadb")


def exact(length: int, charset: str = "ascii") -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset=charset, collation=f"{charset}_bin"), *MARIADB)


CODE = exact(32)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)
TABLE: dict[str, Any] = {
    f"{database}_{option}": value
    for database in MARIADB
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}


def upgrade() -> None:
    op.add_column("users", sa.Column("email_verified_at", TIME, nullable=True))
    op.create_table(
        "tickets",
        sa.Column("id", CODE, primary_key=True),
        sa.Column("purpose", CODE, nullable=False),
        sa.Column("subject_id", CODE, nullable=False),
        sa.Column("secret_sha256", exact(64), nullable=False),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.UniqueConstraint("secret_sha256", name="uq_tickets_secret_sha256"),
        **TABLE,
    )
    op.create_index("ix_tickets_subject_id_purpose", "tickets", ["subject_id", "purpose"])
    op.create_index("ix_tickets_expires_at", "tickets", ["expires_at"])
    op.create_table(
        "invitations",
        sa.Column("id", CODE, primary_key=True),
        sa.Column("email", exact(254, "utf8mb4"), nullable=False),
        sa.Column("role", CODE, nullable=False),
        sa.Column("invited_by", CODE, sa.ForeignKey("users.id"), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("accepted_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("user_id", CODE, sa.ForeignKey("users.id"), nullable=True),
        **TABLE,
    )
    op.create_index("ix_invitations_email", "invitations", ["email"])


def downgrade() -> None:
    op.drop_table("invitations")
    op.drop_table("tickets")
    op.drop_column("users", "email_verified_at")
