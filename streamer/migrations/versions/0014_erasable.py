"""Personal values of the audit log that can be erased, and where they stand.

Expand only. Entries of before keep theirs in the hashed text: no release had them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0014"
down_revision = "0013"

CODE = sa.String(32).with_variant(mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")


def upgrade() -> None:
    op.add_column("audit_entries", sa.Column("person_id", CODE, nullable=True))
    op.add_column("audit_entries", sa.Column("personal", sa.JSON(), nullable=True))
    op.create_index("ix_audit_entries_person_id", "audit_entries", ["person_id"])


def downgrade() -> None:
    op.drop_index("ix_audit_entries_person_id", "audit_entries")
    op.drop_column("audit_entries", "personal")
    op.drop_column("audit_entries", "person_id")
