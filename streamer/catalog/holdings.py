"""What the catalog holds of a person: their films and collections. Handed to another account, or deleted as everybody's are. See `accounts.holdings`."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from streamer import http
from streamer.accounts import audit
from streamer.accounts.holdings import Erasure, Section
from streamer.catalog import assets, collections, playback_ids, search
from streamer.catalog.collection_tables import Collection, CollectionFilm, Grant
from streamer.catalog.tables import Asset, PlaybackId, Version
from streamer.jobs import queues
from streamer.jobs.tables import Job

COLUMNS = (
    "assets.owner_id",
    "assets.title",
    "title_words.owner_id",
    "versions.created_by",
    "jobs.owner_id",
    "collections.owner_id",
    "collections.name",
)

_NAMELESS = "erased"


def export(s: Session, user_id: str) -> Iterable[Section]:
    """Films with their versions and playback ids; deleted ones too, as long as there is a row of them."""
    films = s.scalars(select(Asset).where(Asset.owner_id == user_id)).all()
    made = s.scalars(select(Version).join(Asset, Asset.id == Version.asset_id).where(Asset.owner_id == user_id)).all()
    names = playback_ids.of(s, [film.id for film in films])
    yield "films", (_film(film, [row for row in made if row.asset_id == film.id], names[film.id]) for film in films)
    yield "collections", (_collection(s, row) for row in collections.owned(s, user_id))


def erase(s: Session, erasure: Erasure) -> None:
    """Nothing of theirs is played any more, or all of it is the heir's."""
    for row in collections.owned(s, erasure.user.id):
        if erasure.heir_id is not None:
            collections.hand_over(s, row, erasure.heir_id)
        else:
            collections.remove(s, row)
    s.execute(delete(Grant).where(Grant.grantee == erasure.user.id))
    films = s.scalars(select(Asset).where(Asset.owner_id == erasure.user.id).with_for_update()).all()
    living = [film for film in films if film.deleted_at is None]
    if erasure.heir_id is not None:
        _hand_over(s, living, erasure.user.id, erasure.heir_id)
    else:
        removals = [assets.delete(s, film) for film in living]
        erasure.after.append(partial(queues.dispatch, jobs=removals))
    left = [film for film in films if film.owner_id == erasure.user.id]
    for film in left:
        film.title = _NAMELESS
    of_those = Version.asset_id.in_([film.id for film in left])
    s.execute(update(Version).where(of_those).values(source_name=_NAMELESS))


def _hand_over(s: Session, films: Sequence[Asset], user_id: str, heir_id: str) -> None:
    for film in films:
        audit.record(s, "asset.owner", film.id, before={"owner_id": user_id}, after={"owner_id": heir_id})
        film.owner_id = heir_id
        search.index(s, film)
    s.execute(update(Version).where(Version.created_by == user_id).values(created_by=heir_id))
    s.execute(update(Job).where(Job.owner_id == user_id).values(owner_id=heir_id))


def _film(film: Asset, made: Sequence[Version], names: Sequence[PlaybackId]) -> dict[str, Any]:
    return {
        "id": film.id,
        "title": film.title,
        "publication": film.publication,
        "created_at": http.time(film.created_at),
        "deleted_at": http.time(film.deleted_at),
        "playback_ids": [{"id": one.id, "policy": one.policy} for one in names],
        "versions": [_version(row) for row in made],
    }


def _collection(s: Session, row: Collection) -> dict[str, Any]:
    films = select(CollectionFilm.asset_id).where(CollectionFilm.collection_id == row.id).order_by(CollectionFilm.place)
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "films": list(s.scalars(films)),
        "created_at": http.time(row.created_at),
    }


def _version(row: Version) -> dict[str, Any]:
    return {
        "id": row.id,
        "file": row.source_name,
        "size": row.source_size,
        "sha256": row.source_sha256,
        "duration_s": row.duration_s,
        "processing": row.processing,
        "created_at": http.time(row.created_at),
    }
