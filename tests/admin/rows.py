"""Films in states that would take long to reach by uploading, written straight into the running product's database."""

from typing import Any

from streamer import db
from streamer.accounts import users
from streamer.catalog import assets, playback_ids, versions
from streamer.catalog.tables import Policy, Version
from tests.house import EMAIL, House

SOURCE = versions.Source(key="sources/none/none", name="holiday.mov", size=123_456_789, sha256="0" * 64)


def put_film(
    house: House, title: str, processing: str, *, source_name: str = SOURCE.name, error: dict[str, Any] | None = None
) -> tuple[str, str, str]:
    """Asset id, version id and playback id of a film that is said to be at that stage."""
    with db.session(house.services) as s:
        asset = assets.create(s, users.find(s, EMAIL).id, title)
        version = versions.create(s, asset.id, versions.Source(SOURCE.key, source_name, SOURCE.size, SOURCE.sha256))
        version.processing, version.error = processing, error
        playback = playback_ids.create(s, asset.id, Policy.PUBLIC)
        return asset.id, version.id, playback.id


def move(house: House, version_id: str, processing: str) -> None:
    """Say that it has come to another stage."""
    with db.session(house.services) as s:
        s.get_one(Version, version_id).processing = processing
