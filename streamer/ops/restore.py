"""`streamer restore`: a snapshot into an installation that has nothing yet, on either database.

Keys first, then objects, and the rows last and all at once: a restore that was interrupted is started again and goes on.
"""

import json
import os

from sqlalchemy import Engine, text

from storage import ObjectStore
from streamer import migrations
from streamer.config import Config
from streamer.errors import Conflict
from streamer.ops import backup, backup_place, rows
from streamer.ops.backup import Tell
from streamer.ops.backup_place import SECRETS, Manifest, at


def bring_keys(config: Config, place: ObjectStore, name: str) -> None:
    """Before anything else opens the data folder, which would make new ones. Keys that are there already must be the same."""
    kept = place.read(at(name, SECRETS))
    path = config.secrets_file
    if path.exists():
        if json.loads(path.read_text()) != json.loads(kept):
            detail = f"{path} has other keys than the backup: URLs, logins and webhook secrets would be lost. Move it away, or restore elsewhere."
            raise Conflict(detail, code="other_keys")
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(kept)
        os.fsync(file.fileno())


def run(engine: Engine, store: ObjectStore, place: ObjectStore, found: Manifest, *, objects: bool, tell: Tell) -> None:
    """All of a snapshot. Conflict when the database is in use."""
    _refuse_used(engine)
    if objects and found.objects is not None:
        backup.copy_back(place, store, found.name, tell)
    migrations.downgrade(engine, "base")
    migrations.upgrade(engine, found.revision)
    with engine.begin() as connection, rows.unchecked(connection):
        rows.empty(connection, list(found.tables))
        for table, count in found.tables.items():
            lines = backup_place.lines(place, at(found.name, f"{table}.jsonl.gz"))
            loaded = rows.load(connection, table, lines, lambda so_far, table=table: tell(f"{table}: {so_far} rows"))  # type: ignore[misc]
            if loaded != count:
                raise ValueError(
                    f"The backup is damaged: {table} has {loaded} rows, not {count}. Try an older snapshot."
                )
    migrations.upgrade(engine)


def _refuse_used(engine: Engine) -> None:
    with engine.connect() as connection:
        if rows.revision(connection) is None:
            return
        if connection.scalar(text("SELECT COUNT(*) FROM users")):
            detail = (
                "The database has accounts already. Restore into an empty one: another database.url, or another --data."
            )
            raise Conflict(detail, code="not_empty")
