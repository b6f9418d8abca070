"""The migrated schema is the one the code declares, on both databases, and goes back to nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, Engine, MetaData, Table, delete, insert, inspect, select, text, update
from sqlalchemy.schema import sort_tables

from streamer import db, migrations
from streamer.config import Config
from tests import library

MIGRATIONS = ScriptDirectory(str(Path(migrations.__file__).parent))


@pytest.fixture(params=["sqlite", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    config = Config.load(None, tmp_path)
    url = config.database_url if request.param == "sqlite" else request.getfixturevalue("mariadb_url")
    engine = db.create(config.database, url)
    yield engine
    engine.dispose()


def test_the_migrated_schema_is_what_the_tables_declare(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations.upgrade(engine)
    monkeypatch.delattr(alembic.command, "upgrade")
    migrations.upgrade(engine)  # what is up to date is left alone, and without Alembic
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, db.Base.metadata) == []


def test_films_survive_the_way_down_and_up_again(engine: Engine) -> None:
    migrations.upgrade(engine)
    library.fill(engine, 0, 20)
    before = _rows(engine, "users", "assets", "versions", "playback_ids", "title_words")
    migrations.downgrade(engine, "0001")
    migrations.upgrade(engine)
    assert _rows(engine, "users", "assets", "versions", "playback_ids", "title_words") == before
    migrations.downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrations.upgrade(engine)
    assert set(inspect(engine).get_table_names()) == {"alembic_version", *db.Base.metadata.tables}


def test_the_program_before_each_revision_goes_on_beside_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the old program knows of the tables is enough to write, read, change and delete every kind of row in the new ones."""
    revisions = sorted(script.revision for script in MIGRATIONS.walk_revisions())
    migrations.upgrade(engine, revisions[0])
    for revision in revisions[1:]:
        known = MetaData()
        known.reflect(engine)
        migrations.upgrade(engine, revision)
        with engine.connect() as connection:
            old_program(connection, known)
            connection.rollback()
    monkeypatch.setattr(migrations, "newest", lambda: revisions[-2])
    monkeypatch.delattr(alembic.command, "upgrade")
    migrations.upgrade(engine)  # the old program is started again, and leaves the schema alone


def old_program(connection: Connection, known: MetaData) -> None:
    made: dict[str, dict[str, Any]] = {}
    mutable = [table for name, table in known.tables.items() if name not in ("alembic_version", *HEADS)]
    tables = sort_tables(mutable, skip_fn=lambda key: bool(key.parent.nullable))
    for table in tables:
        row = {column.name: _value(table, column, made) for column in table.columns if _is_needed(column)}
        connection.execute(insert(table), row)
        made[table.name] = dict(connection.execute(select(table)).mappings().one())
    for table in tables:
        same = {column.name: made[table.name][column.name] for column in table.columns if not column.primary_key}
        connection.execute(update(table).values(same))
    for table in reversed(tables):
        connection.execute(delete(table))


HEADS = ("event_heads", "audit_heads")  # have their one row from the start


def _is_needed(column: Column[Any]) -> bool:
    return not column.nullable and column.server_default is None


def _value(table: Table, column: Column[Any], made: dict[str, dict[str, Any]]) -> Any:
    for key in column.foreign_keys:
        return made[key.column.table.name][key.column.name]
    kind = column.type.python_type
    moment = db.now().replace(tzinfo=None)
    plain = {str: "1", datetime: moment, bool: False, int: 1, float: 1.0}  # "1" is text and JSON
    return plain.get(kind, {})


def _rows(engine: Engine, *tables: str) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        return {
            name: sorted(map(tuple, connection.execute(select(db.Base.metadata.tables[name])).all()), key=str)
            for name in tables
        }


def test_what_played_before_there_were_stages_is_whole(engine: Engine) -> None:
    migrations.upgrade(engine, "0001")
    row = {"source_key": "k", "source_name": "n", "source_size": 1, "source_sha256": "0" * 64, "processing": "ready"}
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users VALUES ('u', 'e', 'n', 'p', 'admin', '2026-01-01', NULL)"))
        asset = "INSERT INTO assets (id, owner_id, title, publication, created_at, updated_at) VALUES "
        connection.execute(text(asset + "('a', 'u', 't', 'published', '2026-01-01', '2026-01-01')"))
        for name, playable in (("v1", True), ("v2", False)):
            columns = {**row, "id": name, "asset_id": "a", "playable": playable, "poster": False, "duration_s": 9.5}
            fields = ", ".join(f":{column}" for column in columns)
            version = f"INSERT INTO versions ({', '.join(columns)}, created_at) VALUES ({fields}, '2026-01-01')"
            connection.execute(text(version), columns)
    migrations.upgrade(engine)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT id, stage, available_s FROM versions ORDER BY id")).all()
    assert found == [("v1", "final", 9.5), ("v2", None, None)]


def test_processes_that_migrate_at_once_do_it_once(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: migrations.upgrade(engine), range(4)))
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).all()
    assert found == [(migrations.newest(),)] == [tuple(MIGRATIONS.get_heads())]


def test_every_foreign_key_is_in_the_migrated_schema(engine: Engine) -> None:
    """compare_metadata can't be trusted alone: SQLite reports foreign keys without their names."""
    migrations.upgrade(engine)
    inspector = inspect(engine)
    for table in db.Base.metadata.sorted_tables:
        declared = {(key.parent.name, key.target_fullname) for key in table.foreign_keys}
        found = {
            (column, f"{key['referred_table']}.{target}")
            for key in inspector.get_foreign_keys(table.name)
            for column, target in zip(key["constrained_columns"], key["referred_columns"], strict=True)
        }
        assert found == declared, table.name
