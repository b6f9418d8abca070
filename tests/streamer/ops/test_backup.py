"""A backup brings everything back: rows on either database, objects, keys; and says what is wrong where it can't."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from storage import ObjectStore, open_store
from streamer import db
from streamer.accounts.tables import User
from streamer.config import Config
from streamer.errors import Conflict
from streamer.keyring import load
from streamer.ops import backup, backup_place, backup_report, fsck, restore, rows
from streamer.services import Services, close_services, open_services
from tests.streamer.ops.film_house import House
from tests.streamer.stack import make_config


def silent(where: str) -> None:
    """Nobody watches."""


@pytest.fixture
def place(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "backups"))


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, house: House, tmp_path: Path) -> Config:
    """An installation that has nothing yet, on the other kind of database."""
    sqlite = house.services.engine.dialect.name == "sqlite"
    url = request.getfixturevalue("mariadb_url") if sqlite else f"sqlite:///{tmp_path}/other/streamer.db"
    return make_config(tmp_path / "other", database=url, redis=house.services.config.redis_url)


@contextmanager
def opened(config: Config) -> Iterator[Services]:
    services = open_services(config)
    yield services
    close_services(services)


def content(services: Services, folder: Path) -> dict[str, list[Any]]:
    """Every row of every table, in an order that is the same everywhere."""
    found = {}
    with rows.at_one_time(services.engine) as connection:
        for name in rows.tables(connection):
            rows.dump(connection, name, folder / "rows.gz")
            store = open_store(str(folder))
            found[name] = sorted(backup_place.lines(store, "rows.gz"))
    return found


def test_everything_comes_back_on_the_other_database(
    house: House, place: ObjectStore, elsewhere: Config, tmp_path: Path
) -> None:
    before = content(house.services, tmp_path)
    backup.make(house.services, place, objects=True, tell=silent)
    backup_report.restore(elsewhere, str(tmp_path / "backups"), None, objects=True)
    with opened(elsewhere) as services:
        assert content(services, tmp_path) == before
        assert list(fsck.check(services, settled_s=-1)) == []
    assert load(elsewhere) == house.services.secrets
    assert elsewhere.secrets_file.stat().st_mode & 0o777 == 0o600


def test_the_second_backup_copies_what_is_new(house: House, place: ObjectStore) -> None:
    backup.make(house.services, place, objects=True, tell=silent)
    first = {info.key: info.modified for info in place.list("objects/")}
    house.services.store.put("sources/new", b"new", type="video/mp4")
    made = backup.make(house.services, place, objects=True, tell=silent)
    second = {info.key: info.modified for info in place.list("objects/")}
    assert {key: at for key, at in second.items() if key in first} == first
    assert set(second) - set(first) == {"objects/sources/new"}
    assert made.objects == len(second)


def test_pruning_leaves_what_the_kept_snapshots_need(
    house: House, place: ObjectStore, elsewhere: Config, tmp_path: Path
) -> None:
    house.services.store.put("sources/old", b"old", type="video/mp4")
    backup.make(house.services, place, objects=True, tell=silent)
    house.services.store.delete("sources/old")
    made = backup.make(house.services, place, objects=True, tell=silent)
    backup.prune(place, 1, silent)
    assert backup_place.snapshots(place) == [made.name]
    assert "objects/sources/old" not in {info.key for info in place.list("objects/")}
    backup_report.restore(elsewhere, str(tmp_path / "backups"), None, objects=True)
    with opened(elsewhere) as services:
        assert list(fsck.check(services, settled_s=-1)) == []


def test_a_database_in_use_is_left_alone(house: House, place: ObjectStore, tmp_path: Path) -> None:
    made = backup.make(house.services, place, objects=True, tell=silent)
    before = content(house.services, tmp_path)
    with pytest.raises(Conflict, match="accounts already"):
        restore.run(house.services.engine, house.services.store, place, made, objects=True, tell=silent)
    assert content(house.services, tmp_path) == before


def test_other_keys_are_never_overwritten(house: House, place: ObjectStore, elsewhere: Config, tmp_path: Path) -> None:
    backup.make(house.services, place, objects=True, tell=silent)
    with opened(elsewhere) as services:
        own = services.secrets
    with pytest.raises(Conflict, match="other keys"):
        backup_report.restore(elsewhere, str(tmp_path / "backups"), None, objects=True)
    assert load(elsewhere) == own


def test_a_snapshot_that_was_not_finished_counts_for_nothing(
    house: House, place: ObjectStore, elsewhere: Config, tmp_path: Path
) -> None:
    made = backup.make(house.services, place, objects=True, tell=silent)
    place.delete(backup_place.at(made.name, backup_place.MANIFEST))
    with pytest.raises(ValueError, match="no finished backup"):
        backup_report.restore(elsewhere, str(tmp_path / "backups"), None, objects=True)


def test_a_damaged_snapshot_restores_nothing_and_says_so(
    house: House, place: ObjectStore, elsewhere: Config, tmp_path: Path
) -> None:
    made = backup.make(house.services, place, objects=True, tell=silent)
    key = backup_place.at(made.name, backup_place.MANIFEST)
    manifest = json.loads(place.read(key))
    manifest["tables"]["users"] += 1
    place.put(key, json.dumps(manifest).encode(), type="application/json")
    with pytest.raises(ValueError, match="damaged: users has 1 rows, not 2"):
        backup_report.restore(elsewhere, str(tmp_path / "backups"), None, objects=True)
    with opened(elsewhere) as services, db.reading(services) as s:
        assert s.scalars(select(User)).all() == []


def test_a_backup_is_for_its_owner_only(house: House, tmp_path: Path) -> None:
    """It has the keys and the hashes of passwords."""
    backup_report.backup(house.services, str(tmp_path / "private"), objects=False, keep=0)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "private").rglob("*")}
    assert modes == {0}
