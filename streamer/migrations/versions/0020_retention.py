"""Indexes by which rows that are old are found.

Expand only: a program of before leaves such rows where they are.
"""

from alembic import op

revision = "0020"
down_revision = "0019"

INDEXES = (
    ("ix_login_sessions_expires_at", "login_sessions", ["expires_at"]),
    ("ix_playback_sessions_expires_at", "playback_sessions", ["expires_at"]),
    ("ix_invitations_accepted_at_expires_at", "invitations", ["accepted_at", "expires_at"]),
    ("ix_jobs_state_finished_at", "jobs", ["state", "finished_at"]),
)


def upgrade() -> None:
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
