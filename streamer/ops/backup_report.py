"""`streamer backup` and `streamer restore` as an operator sees them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from storage import ObjectStore, open_store
from streamer.config import Config
from streamer.ops import backup as making
from streamer.ops import backup_place
from streamer.ops import restore as bringing
from streamer.ops.backup_place import Manifest
from streamer.ops.terminal import Where
from streamer.services import Services, close_services, make_data_folder, open_services


def backup(services: Services, to: str, *, objects: bool, keep: int) -> None:
    """A new snapshot in the place, and the old ones away."""
    where = Where()
    with _private():
        place = _place(to, services.config)
        made = making.make(services, place, objects=objects, tell=where.tell)
    where.clear()
    print(_line(made))
    if keep:
        making.prune(place, keep, print)


def restore(config: Config, source: str, name: str | None, *, objects: bool) -> None:
    """A snapshot, by default the newest, into what the configuration names."""
    place, where = _place(source, config), Where()
    names = backup_place.snapshots(place)
    if not names:
        raise ValueError(f"There is no finished backup in {source}.")
    found = backup_place.manifest(place, name or names[-1])
    make_data_folder(config)
    bringing.bring_keys(config, place, found.name)
    services = open_services(config)
    try:
        bringing.run(services.engine, services.store, place, found, objects=objects, tell=where.tell)
    finally:
        close_services(services)
        where.clear()
    print(
        f"Restored {_line(found)}\nNow `streamer fsck` compares everything; `--repair` removes what was added after the snapshot."
    )


def show(source: str, config: Config) -> None:
    """The finished snapshots, oldest first."""
    place = _place(source, config)
    for name in backup_place.snapshots(place):
        print(_line(backup_place.manifest(place, name)))


def _place(url: str, config: Config) -> ObjectStore:
    """S3 with the server's own credentials, if it has any in its configuration."""
    return open_store(url, access_key=config.storage.access_key or None, secret_key=config.storage.secret_key or None)


def _line(made: Manifest) -> str:
    films = "without films" if made.objects is None else f"{made.objects} objects, {(made.size or 0) / 1e9:.2f} GB"
    return f"{made.name}: {sum(made.tables.values())} rows, {films}"


@contextmanager
def _private() -> Iterator[None]:
    """What is written meanwhile is for its owner only, as the keys and rows of a server are."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
