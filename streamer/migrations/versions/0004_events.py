"""Events, and webhooks that are sent of them.

Expand only: a program of before records none and sends none.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "0004"
down_revision = "0003"

MARIADB = ("mysql", "mariadb")
TABLE: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in MARIADB
    for name, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}


def ascii_exact(length: int) -> TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), *MARIADB)


ID = CODE = ascii_exact(32)
SEALED = ascii_exact(255)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("entry", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        _required("id", ID, unique=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True, unique=True),
        _required("type", CODE),
        _required("subject_id", ID),
        _required("data", sa.JSON()),
        _required("created_at", TIME),
        **TABLE,
    )
    op.create_index("ix_events_created_at", "events", ["created_at"])
    heads = op.create_table(
        "event_heads",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        _required("sequence", sa.BigInteger()),
        **TABLE,
    )
    op.bulk_insert(heads, [{"id": 1, "sequence": 0}])
    _webhooks()


def downgrade() -> None:
    for table in ("webhook_deliveries", "webhook_endpoints", "event_heads", "events"):
        op.drop_table(table)


def _webhooks() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", ID, primary_key=True),
        _required("url", sa.String(2000)),
        _required("description", sa.String(200)),
        _required("types", sa.JSON()),
        _required("secret", SEALED),
        sa.Column("old_secret", SEALED, nullable=True),
        sa.Column("old_secret_until", TIME, nullable=True),
        _required("created_at", TIME),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.Column("disabled_reason", CODE, nullable=True),
        sa.Column("courier", ID, nullable=True),
        sa.Column("courier_until", TIME, nullable=True),
        **TABLE,
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", ID, primary_key=True),
        _required("endpoint_id", ID, sa.ForeignKey("webhook_endpoints.id", ondelete="CASCADE")),
        _required("event_id", ID, sa.ForeignKey("events.id", ondelete="CASCADE")),
        _required("state", CODE),
        _required("attempts", sa.Integer()),
        _required("due_at", TIME),
        sa.Column("tried_at", TIME, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(200), nullable=True),
        _required("created_at", TIME),
        sa.UniqueConstraint("event_id", "endpoint_id", name="uq_webhook_deliveries_event_id_endpoint_id"),
        **TABLE,
    )
    due = ["endpoint_id", "state", "due_at"]
    op.create_index("ix_webhook_deliveries_endpoint_id_state_due_at", "webhook_deliveries", due)


def _required(name: str, type_: TypeEngine[Any], *constraints: sa.ForeignKey, unique: bool = False) -> sa.Column[Any]:
    return sa.Column(name, type_, *constraints, nullable=False, unique=unique)
