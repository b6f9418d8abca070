"""Versions that are chosen, made again and deleted; what each attempt of a webhook came to.

Expand only: a program of before makes one version of a film, deletes none, and sends webhooks without noting attempts.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "0008"
down_revision = "0007"

MARIADB = ("mysql", "mariadb")
CODE = sa.String(32).with_variant(mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), *MARIADB)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)
TABLE: dict[str, Any] = {
    f"{database}_{option}": value
    for database in MARIADB
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}
# Without foreign keys: neither users nor films are ever removed, and SQLite can't take such a column away again.
COLUMNS: dict[str, list[tuple[str, TypeEngine[Any]]]] = {
    "assets": [("passed_over_id", CODE)],
    "versions": [("options", sa.JSON()), ("created_by", CODE), ("deleted_at", TIME), ("purged_at", TIME)],
    "uploads": [("replaces", CODE)],
    "webhook_endpoints": [("quiet_until", TIME)],
}


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind, nullable=True))
    op.execute("UPDATE versions SET created_by = (SELECT owner_id FROM assets WHERE assets.id = versions.asset_id)")
    op.create_index("ix_versions_deleted_at_id", "versions", ["deleted_at", "id"])
    op.create_table(
        "webhook_attempts",
        sa.Column("id", CODE, primary_key=True),
        sa.Column("delivery_id", CODE, sa.ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), nullable=False),
        sa.Column("tried_at", TIME, nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(200), nullable=True),
        **TABLE,
    )
    op.create_index("ix_webhook_attempts_delivery_id_id", "webhook_attempts", ["delivery_id", "id"])


def downgrade() -> None:
    op.drop_table("webhook_attempts")
    op.drop_index("ix_versions_deleted_at_id", "versions")
    for table, columns in reversed(COLUMNS.items()):
        for name, _ in reversed(columns):
            op.drop_column(table, name)
