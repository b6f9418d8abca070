"""Versions that play before they are whole: which stage they have come to, and how many seconds of it are there.

Expand only: a program of before leaves both empty, and what is playable with no stage is whole.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

CODE = sa.String(32).with_variant(mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")


def upgrade() -> None:
    op.add_column("versions", sa.Column("stage", CODE, nullable=True))
    op.add_column("versions", sa.Column("available_s", sa.Double(), nullable=True))
    op.execute("UPDATE versions SET stage = 'final', available_s = duration_s WHERE playable")


def downgrade() -> None:
    op.drop_column("versions", "available_s")
    op.drop_column("versions", "stage")
