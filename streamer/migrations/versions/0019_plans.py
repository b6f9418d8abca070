"""Plans, and who has which.

Expand only: a program of before encodes everybody's films as if nobody had a plan.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0019"
down_revision = "0018"

MARIADB = ("mysql", "mariadb")
ID = sa.String(32).with_variant(mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), *MARIADB)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)
TABLE: dict[str, Any] = {
    f"{database}_{option}": value
    for database in MARIADB
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}


def upgrade() -> None:
    op.create_table(
        "plans",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("encode_priority", sa.SmallInteger(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        **TABLE,
    )
    op.create_table(
        "plan_holders",
        sa.Column("user_id", ID, sa.ForeignKey("users.id", name="fk_plan_holders_user_id"), primary_key=True),
        sa.Column("plan_id", ID, sa.ForeignKey("plans.id", name="fk_plan_holders_plan_id"), nullable=False),
        sa.Column("since", TIME, nullable=False),
        **TABLE,
    )
    op.create_index("ix_plan_holders_plan_id", "plan_holders", ["plan_id"])


def downgrade() -> None:
    op.drop_table("plan_holders")
    op.drop_table("plans")
