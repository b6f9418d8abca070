"""What a backup is: a store of any kind (a folder, S3) with a copy of every object, and snapshots of everything else.

objects/<key>                          copied once, since nearly all objects never change
snapshots/<time>/<table>.jsonl.gz      the rows of one moment
snapshots/<time>/secrets.json          the keys that sign URLs and logins: keep a backup as private as the server
snapshots/<time>/objects.jsonl.gz      which objects there were, with their sizes
snapshots/<time>/manifest.json         written last: a snapshot without it was never finished and counts for nothing
"""

import gzip
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from storage import ObjectMissing, ObjectStore

OBJECTS, SNAPSHOTS = "objects", "snapshots"
MANIFEST, SECRETS, LISTED = "manifest.json", "secrets.json", "objects.jsonl.gz"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished snapshot: `revision` is the schema's, `tables` counts rows; `objects` and `size` are None where storage was left out."""

    name: str
    revision: str
    tables: dict[str, int]
    objects: int | None
    size: int | None
    format: int = FORMAT


def snapshots(place: ObjectStore) -> list[str]:
    """The names of the finished ones, oldest first. They are times, so their order is that of names."""
    found = (info.key.split("/") for info in place.list(f"{SNAPSHOTS}/"))
    return sorted({parts[1] for parts in found if len(parts) == 3 and parts[2] == MANIFEST})


def at(name: str, file: str) -> str:
    """The key of a file of a snapshot."""
    return f"{SNAPSHOTS}/{name}/{file}"


def manifest(place: ObjectStore, name: str) -> Manifest:
    """Of a finished snapshot; ValueError for one of a later version of the program."""
    try:
        fields = json.loads(place.read(at(name, MANIFEST)))
    except ObjectMissing:
        raise ValueError(f"There is no finished snapshot {name} here.") from None
    if fields.get("format") != FORMAT:
        raise ValueError(f"Snapshot {name} was made by another version of streamer; restore it with that one.")
    return Manifest(**fields)


def write(place: ObjectStore, found: Manifest) -> None:
    """The last of a snapshot's files."""
    place.put(at(found.name, MANIFEST), json.dumps(asdict(found), indent=1).encode(), type="application/json")


def lines(place: ObjectStore, key: str) -> Iterator[str]:
    """Of a gzipped file, in flat memory."""
    with tempfile.TemporaryFile() as file:
        for piece in place.chunks(key):
            file.write(piece)
        file.seek(0)
        with gzip.open(file, "rt", encoding="utf-8") as text:
            yield from text


def put_file(place: ObjectStore, key: str, path: Path) -> None:
    place.put(key, path, type="application/gzip", encoding="gzip")


def listed(place: ObjectStore, name: str) -> Iterator[tuple[str, int]]:
    """Key and size of every object of a snapshot."""
    for line in lines(place, at(name, LISTED)):
        key, size = json.loads(line)
        yield key, size
