"""Accounts that were erased.

Expand only: a program of before shows them as disabled.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0015"
down_revision = "0014"

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    op.add_column("users", sa.Column("erased_at", TIME, nullable=True))


def downgrade() -> None:
    op.drop_column("users", "erased_at")
