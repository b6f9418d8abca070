"""Steps: jobs that are a part of another job. Workers that were told to pause.

Expand only: a program of before makes none. Upgrade workers before web servers and let them drain: one of before gives a step back with an error.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "0005"
down_revision = "0004"

MARIADB = ("mysql", "mariadb")
TABLE: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in MARIADB
    for name, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)
NAME = sa.String(128).with_variant(mysql.VARCHAR(128, collation="utf8mb4_bin"), *MARIADB)


def ascii_exact(length: int) -> TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), *MARIADB)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("parent_id", ascii_exact(32), nullable=True))
    op.add_column("jobs", sa.Column("step", ascii_exact(64), nullable=True))
    op.create_index("uq_jobs_parent_id_step", "jobs", ["parent_id", "step"], unique=True)
    op.create_table(
        "pauses",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("since", TIME, nullable=False),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("pauses")
    op.execute("DELETE FROM jobs WHERE parent_id IS NOT NULL")
    op.drop_index("uq_jobs_parent_id_step", "jobs")
    op.drop_column("jobs", "step")
    op.drop_column("jobs", "parent_id")
