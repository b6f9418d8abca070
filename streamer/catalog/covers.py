"""What films and collections look like in lists: their posters, and how many films somebody sees in a collection. Two queries for any number of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select, tuple_
from sqlalchemy.orm import Session

from streamer.accounts.logins import Principal
from streamer.catalog import collection_films
from streamer.catalog.collection_tables import Collection, CollectionFilm
from streamer.catalog.tables import Asset, Version
from streamer.services import Services


@dataclass(frozen=True, slots=True)
class Cover:
    """How many films, and the poster of the first one that has any."""

    films: int = 0
    poster_url: str | None = None


def posters(services: Services, s: Session, films: Sequence[Asset]) -> dict[str, str]:
    """The address of each film's poster, by its id; nothing for those without one."""
    live = {film.live_version_id: film.id for film in films if film.live_version_id}
    versions = s.scalars(select(Version).where(Version.id.in_(live), Version.poster))
    urls = {live[version.id]: services.poster_url(version.path) for version in versions if version.path}
    return {asset_id: url for asset_id, url in urls.items() if url}


def of(services: Services, s: Session, rows: Sequence[Collection], who: Principal) -> dict[str, Cover]:
    """The cover of each collection, by its id, as somebody sees it."""
    in_them = CollectionFilm.collection_id.in_([row.id for row in rows])
    first = func.min(case((Version.poster, CollectionFilm.place)))
    query = (
        select(CollectionFilm.collection_id, func.count(), first)
        .join(Asset, Asset.id == CollectionFilm.asset_id)
        .outerjoin(Version, Version.id == Asset.live_version_id)
        .where(in_them, collection_films.shown(s, rows, who))
        .group_by(CollectionFilm.collection_id)
    )
    counted = {collection_id: (films, place) for collection_id, films, place in s.execute(query)}
    faces = _faces(services, s, [(collection_id, place) for collection_id, (_, place) in counted.items() if place])
    return {row.id: Cover(counted.get(row.id, (0, None))[0], faces.get(row.id)) for row in rows}


def _faces(services: Services, s: Session, places: Sequence[tuple[str, int]]) -> dict[str, str]:
    """The posters at these places of collections, by the collection's id."""
    there = tuple_(CollectionFilm.collection_id, CollectionFilm.place).in_(places)
    query = select(CollectionFilm.collection_id, Asset).join(Asset, Asset.id == CollectionFilm.asset_id).where(there)
    films = {collection_id: film for collection_id, film in s.execute(query)} if places else {}
    urls = posters(services, s, list(films.values()))
    return {collection_id: urls[film.id] for collection_id, film in films.items() if film.id in urls}
