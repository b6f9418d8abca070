"""`streamer backup`: rows of one moment, then a copy of every object, beside a running server.

The rows come first. What they name is not removed from storage before hours have passed (deletions wait for the longest playback token), and
what was added since is more than they know: `streamer fsck --repair` removes it after a restore.
"""

import base64
import gzip
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from storage import ObjectInfo, ObjectMissing, ObjectStore
from streamer.keyring import Secrets
from streamer.ops import backup_place, rows
from streamer.ops.backup_place import LISTED, OBJECTS, SECRETS, SNAPSHOTS, Manifest, at
from streamer.services import Services

T = TypeVar("T")
R = TypeVar("R")

PARALLEL = 8

Tell = Callable[[str], object]


def make(services: Services, place: ObjectStore, *, objects: bool, tell: Tell) -> Manifest:
    """A new snapshot; what is in the place already is not copied again."""
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    place.put(at(name, SECRETS), _secrets(services.secrets), type="application/json")
    with tempfile.TemporaryDirectory() as folder:
        revision, counts = _rows(services, place, name, Path(folder) / "rows.gz", tell)
        copied = _objects(services.store, place, name, Path(folder) / "objects.gz", tell) if objects else (None, None)
    made = Manifest(name, revision, counts, *copied)
    backup_place.write(place, made)
    return made


def prune(place: ObjectStore, keep: int, tell: Tell) -> None:
    """Leave the newest snapshots, and the objects that they name. Nothing goes while one of them was made without storage."""
    names = backup_place.snapshots(place)
    kept, old = names[-keep:], names[:-keep]
    if any(backup_place.manifest(place, name).objects is None for name in kept):
        tell("Nothing was pruned: a snapshot without objects doesn't say which ones it needs.")
        return
    wanted = {key for name in kept for key, _ in backup_place.listed(place, name)}
    for name in old:
        place.delete(at(name, backup_place.MANIFEST))  # first: what is half removed is no snapshot
        for info in list(place.list(f"{SNAPSHOTS}/{name}/")):
            place.delete(info.key)
    gone = [info.key for info in place.list(f"{OBJECTS}/") if info.key.removeprefix(f"{OBJECTS}/") not in wanted]
    for key in gone:
        place.delete(key)
    tell(f"Removed {len(old)} snapshots and {len(gone)} objects that no other one needs.")


def _rows(services: Services, place: ObjectStore, name: str, path: Path, tell: Tell) -> tuple[str, dict[str, int]]:
    counts: dict[str, int] = {}
    with rows.at_one_time(services.engine) as connection:
        revision = rows.revision(connection)
        assert revision, "the command has migrated the database"
        for table in rows.tables(connection):
            counts[table] = rows.dump(connection, table, path)
            backup_place.put_file(place, at(name, f"{table}.jsonl.gz"), path)
            tell(f"{table}: {counts[table]} rows")
    return revision, counts


def _objects(store: ObjectStore, place: ObjectStore, name: str, path: Path, tell: Tell) -> tuple[int, int]:
    there = {info.key.removeprefix(f"{OBJECTS}/"): info for info in place.list(f"{OBJECTS}/")}
    count = size = 0
    with gzip.open(path, "wt", encoding="utf-8") as listed, ThreadPoolExecutor(PARALLEL, "backup") as pool:
        for info in _side_by_side(
            pool, lambda found: _copied(store, place, found, there.get(found.key)), store.list("")
        ):
            if info is not None:
                count, size = count + 1, size + info.size
                listed.write(json.dumps([info.key, info.size]) + "\n")
                tell(f"{count} objects, {size / 1e9:.2f} GB")
    backup_place.put_file(place, at(name, LISTED), path)
    return count, size


def _copied(store: ObjectStore, place: ObjectStore, info: ObjectInfo, before: ObjectInfo | None) -> ObjectInfo | None:
    """None for one that was deleted meanwhile. Playlists that grow keep their key, so age counts beside size."""
    if before and before.size == info.size and before.modified >= info.modified:
        return info
    try:
        _copy(store, info.key, place, f"{OBJECTS}/{info.key}")
    except ObjectMissing:
        return None
    return info


def copy_back(place: ObjectStore, store: ObjectStore, name: str, tell: Tell) -> None:
    """Every object of a snapshot that is not in the store with that size; ObjectMissing for one that the backup has lost."""
    there = {info.key: info.size for info in store.list("")}

    def missing() -> Iterator[str]:
        return (key for key, size in backup_place.listed(place, name) if there.get(key) != size)

    with ThreadPoolExecutor(PARALLEL, "restore") as pool:
        copies = _side_by_side(pool, lambda key: _copy(place, f"{OBJECTS}/{key}", store, key), missing())
        for count, _ in enumerate(copies, 1):
            tell(f"{count} objects copied")


def _side_by_side(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """In order, as `pool.map` does it, but without asking for all items at once: there may be millions."""
    under_way: deque[Future[R]] = deque()
    for item in items:
        under_way.append(pool.submit(work, item))
        if len(under_way) > 2 * PARALLEL:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _copy(source: ObjectStore, key: str, target: ObjectStore, to: str) -> None:
    info = source.head(key)
    with tempfile.TemporaryFile() as file:
        for piece in source.chunks(key):
            file.write(piece)
        file.seek(0)
        target.put(to, file, type=info.type, cache=info.cache, encoding=info.encoding)


def _secrets(secrets: Secrets) -> bytes:
    """As the data folder has them, wherever they came from."""
    keys = {kid: base64.b64encode(key).decode() for kid, key in secrets.playback.items()}
    newest_last = {kid: key for kid, key in keys.items() if kid != secrets.playback_kid}
    newest_last[secrets.playback_kid] = keys[secrets.playback_kid]
    return json.dumps({"playback": newest_last, "session": base64.b64encode(secrets.session).decode()}).encode()
