"""Accounts, jobs, catalog, ingest and delivery: all that the main job needs."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None

MARIADB = ("mysql", "mariadb")
TABLE: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in MARIADB
    for name, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_unicode_520_ci"))
}


def exact(length: int, charset: str = "ascii") -> TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset=charset, collation=f"{charset}_bin"), *MARIADB)


ID = exact(32)
CODE = exact(32)
SHA256 = exact(64)
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *MARIADB)


def upgrade() -> None:
    _accounts()
    _catalog()
    _jobs()
    _ingest()
    _delivery()


def downgrade() -> None:
    op.execute("UPDATE assets SET live_version_id = NULL")  # the two tables point at each other
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint("fk_assets_live_version_id_versions", "assets", type_="foreignkey")
    for table in (
        "playback_sessions",
        "uploads",
        "leases",
        "jobs",
        "playback_ids",
        "renditions",
        "versions",
        "assets",
        "login_sessions",
        "api_keys",
        "users",
    ):
        op.drop_table(table)


def _accounts() -> None:
    _table(
        "users",
        _required("email", exact(254, "utf8mb4"), unique=True),
        _required("name", sa.String(200)),
        _required("password_hash", exact(255)),
        _required("role", CODE),
        _required("created_at", TIME),
        _optional("disabled_at", TIME),
    )
    _table(
        "api_keys",
        _required("user_id", ID, sa.ForeignKey("users.id")),
        _required("name", sa.String(200)),
        _required("secret_sha256", SHA256, unique=True),
        _required("scopes", sa.JSON()),
        _required("created_at", TIME),
        _optional("last_used_at", TIME),
        _optional("revoked_at", TIME),
    )
    _table(
        "login_sessions",
        _required("user_id", ID, sa.ForeignKey("users.id")),
        _required("secret_sha256", SHA256, unique=True),
        _required("created_at", TIME),
        _required("last_seen_at", TIME),
        _required("expires_at", TIME),
        _optional("revoked_at", TIME),
        _required("user_agent", sa.String(300)),
        _required("address", exact(64)),
    )
    _indexes("api_keys", ["user_id", "id"])
    _indexes("login_sessions", ["user_id", "id"])


def _catalog() -> None:
    # Assets and versions point at each other. SQLite takes the constraint before its target exists, MariaDB takes it after.
    inline = op.get_bind().dialect.name == "sqlite"
    live = sa.ForeignKey("versions.id", name="fk_assets_live_version_id_versions")
    _table(
        "assets",
        _required("owner_id", ID, sa.ForeignKey("users.id")),
        _required("title", sa.String(255)),
        _required("publication", CODE),
        _optional("live_version_id", ID, *([live] if inline else [])),
        _required("created_at", TIME),
        _required("updated_at", TIME),
        _optional("deleted_at", TIME),
        _optional("purged_at", TIME),
    )
    _table(
        "versions",
        _required("asset_id", ID, sa.ForeignKey("assets.id")),
        _optional("path", exact(255), unique=True),
        _required("source_key", exact(255)),
        _required("source_name", sa.String(255)),
        _required("source_size", sa.BigInteger()),
        _required("source_sha256", SHA256),
        _required("processing", CODE),
        _required("playable", sa.Boolean()),
        _optional("error", sa.JSON()),
        _optional("report", sa.JSON()),
        _optional("duration_s", sa.Double()),
        _optional("width", sa.Integer()),
        _optional("height", sa.Integer()),
        _required("poster", sa.Boolean()),
        _required("created_at", TIME),
        _optional("published_at", TIME),
    )
    if not inline:
        op.create_foreign_key("fk_assets_live_version_id_versions", "assets", "versions", ["live_version_id"], ["id"])
    _table(
        "renditions",
        _required("version_id", ID, sa.ForeignKey("versions.id")),
        _required("kind", CODE),
        _required("name", sa.String(64)),
        _optional("width", sa.Integer()),
        _optional("height", sa.Integer()),
        _optional("frame_rate", sa.String(24)),
        _required("codecs", sa.String(64)),
        _required("bandwidth", sa.Integer()),
        _required("average_bandwidth", sa.Integer()),
        _optional("language", sa.String(35)),
        _required("size", sa.BigInteger()),
    )
    _table(
        "playback_ids",
        _required("asset_id", ID, sa.ForeignKey("assets.id")),
        _required("policy", CODE),
        _required("created_at", TIME),
        _optional("revoked_at", TIME),
    )
    _indexes("assets", ["deleted_at", "id"], ["owner_id", "deleted_at", "id"])
    _indexes("versions", ["asset_id", "id"])
    _indexes("renditions", ["version_id"])
    _indexes("playback_ids", ["asset_id"])


def _jobs() -> None:
    _table(
        "jobs",
        _required("kind", CODE),
        _required("subject_id", ID),
        _optional("owner_id", ID, sa.ForeignKey("users.id")),
        _required("payload", sa.JSON()),
        _required("state", CODE),
        _required("priority", sa.Integer()),
        _required("attempt", sa.Integer()),
        _required("max_attempts", sa.Integer()),
        _required("lost", sa.Integer()),
        _required("run_after", TIME),
        _optional("lease_owner", exact(128, "utf8mb4")),
        _optional("lease_until", TIME),
        _required("fence", sa.BigInteger()),
        _optional("cancel_requested_at", TIME),
        _optional("error", sa.JSON()),
        _required("created_at", TIME),
        _optional("started_at", TIME),
        _optional("finished_at", TIME),
    )
    op.create_table(
        "leases",
        sa.Column("name", CODE, primary_key=True),
        _required("owner", exact(128, "utf8mb4")),
        _required("until", TIME),
        **TABLE,
    )
    _indexes("jobs", ["state", "run_after"], ["state", "lease_until"], ["subject_id", "id"], ["owner_id", "id"])


def _ingest() -> None:
    _table(
        "uploads",
        _required("user_id", ID, sa.ForeignKey("users.id")),
        _optional("asset_id", ID, sa.ForeignKey("assets.id")),
        _required("filename", sa.String(255)),
        _optional("declared_size", sa.BigInteger()),
        _required("received", sa.BigInteger()),
        _required("state", CODE),
        _optional("sha256", SHA256),
        _required("source_key", exact(255)),
        _optional("error", sa.JSON()),
        _required("created_at", TIME),
        _required("updated_at", TIME),
    )
    _indexes("uploads", ["state", "updated_at"], ["user_id", "id"])


def _delivery() -> None:
    _table(
        "playback_sessions",
        _required("playback_id", ID, sa.ForeignKey("playback_ids.id")),
        _required("asset_id", ID, sa.ForeignKey("assets.id")),
        _required("version_id", ID, sa.ForeignKey("versions.id")),
        _optional("user_id", ID, sa.ForeignKey("users.id")),
        _required("cap", sa.Integer()),
        _required("created_at", TIME),
        _required("expires_at", TIME),
        _optional("ended_at", TIME),
        _optional("killed_at", TIME),
    )
    _indexes("playback_sessions", ["asset_id", "created_at"], ["user_id", "created_at"], ["killed_at"])


def _table(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(name, sa.Column("id", ID, primary_key=True), *columns, **TABLE)


def _required(name: str, type_: TypeEngine[Any], *constraints: sa.ForeignKey, unique: bool = False) -> sa.Column[Any]:
    return sa.Column(name, type_, *constraints, nullable=False, unique=unique)


def _optional(name: str, type_: TypeEngine[Any], *constraints: sa.ForeignKey, unique: bool = False) -> sa.Column[Any]:
    return sa.Column(name, type_, *constraints, nullable=True, unique=unique)


def _indexes(table: str, *indexes: list[str]) -> None:
    for columns in indexes:
        op.create_index("_".join(["ix", table, *columns]), table, columns)
