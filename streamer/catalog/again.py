"""More versions of a film that there is: of another file, or of the same one with other options. All inside the caller's transaction.

A version with other options shares the source of the one it is made from, so the source stays until the last of them is gone.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from streamer.accounts import audit, rolebook
from streamer.accounts.roles import Permission
from streamer.accounts.tables import User
from streamer.catalog import grants, history, news, versions
from streamer.catalog.collection_tables import Access
from streamer.catalog.tables import Asset, Version
from streamer.catalog.versions import Source
from streamer.errors import Gone, Invalid
from streamer.events.types import EventType
from streamer.jobs import jobs
from streamer.jobs.tables import Job

MOST_RUNGS = 12


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Step(_Closed):
    """A rung: its short side in pixels, the bit rate it never exceeds."""

    short_side: int = Field(ge=90, le=2160)
    max_kbps: int = Field(ge=50, le=60_000)


class Options(_Closed):
    """What a version may do differently from the server's settings; what is None follows them.

    `max_short_side` in pixels, `loudness_lufs` as in `packager.loudness_lufs`, `passthrough`: the file's own picture may be the top rendition,
    `ladder`: these rungs and no others, as far as the file is large enough for them.
    """

    max_short_side: int | None = Field(default=None, ge=144, le=2160)
    loudness_lufs: float | None = Field(default=None, ge=-40, le=0)
    passthrough: bool | None = None
    ladder: list[Step] | None = Field(default=None, min_length=1, max_length=MOST_RUNGS)

    def stored(self) -> dict[str, Any]:
        """Only what was chosen."""
        return self.model_dump(exclude_none=True)


class FilmGone(Gone):
    """What an upload was for is not there any more, or not for this user."""

    default_code, title = "film_gone", "The film cannot be given another file"


def of_file(s: Session, asset_id: str, source: Source, user_id: str) -> tuple[Asset, Version]:
    """The version that an upload makes. FilmGone when the film was deleted meanwhile, or is not the user's to change any more."""
    asset = _still_theirs(s, s.get(Asset, asset_id, with_for_update=True, populate_existing=True), user_id)
    return asset, _made(s, asset, source, user_id, None)


def check_film(s: Session, asset_id: str, user_id: str) -> None:
    """The same refusals, before a file that takes long is begun with."""
    _still_theirs(s, s.get(Asset, asset_id), user_id)


def of_version(
    s: Session, asset: Asset, version_id: str | None, options: Options, *, user_id: str, max_attempts: int
) -> tuple[Version, Job]:
    """One with the source of that version (None: of what plays, else of the newest) and other options, and the job that encodes it.

    `asset` is locked by the caller, so the source can't go in the meantime.
    """
    _check_ladder(options)
    origin = history.get(s, asset.id, version_id or _usual(s, asset))
    source = Source(origin.source_key, origin.source_name, origin.source_size, origin.source_sha256)
    version = _made(s, asset, source, user_id, options.stored() or None)
    return version, jobs.enqueue(s, "transcode", version.id, owner_id=user_id, max_attempts=max_attempts)


def _still_theirs(s: Session, asset: Asset | None, user_id: str) -> Asset:
    if asset is None or asset.deleted_at is not None:
        raise FilmGone("It was deleted while the file was on its way. Upload the file as a new film.")
    user = s.get_one(User, user_id)
    granted = grants.of_film(s, asset.id, user_id, user.role) or 0
    theirs = asset.owner_id == user_id or granted >= Access.EDIT
    if not theirs and Permission.ASSETS_WRITE not in rolebook.permissions(s, user.role):
        raise FilmGone("Your account may not change it any more. Ask its owner or an administrator.")
    return asset


def _made(s: Session, asset: Asset, source: Source, user_id: str, options: dict[str, Any] | None) -> Version:
    version = versions.create(s, asset.id, source, made_by=user_id, options=options)
    asset.updated_at = version.created_at
    news.version(s, EventType.VERSION_CREATED, version)
    audit.record(s, "version.create", version.id, after={"asset_id": asset.id, "options": options})
    return version


def _usual(s: Session, asset: Asset) -> str:
    newest = versions.newest(s, [asset.id]).get(asset.id)
    return asset.live_version_id or (newest.id if newest else "")


def _check_ladder(options: Options) -> None:
    steps = [(step.short_side, step.max_kbps) for step in options.ladder or ()]
    if len(set(steps)) < len(steps):
        told = {"pointer": "/ladder", "detail": "names the same rung twice"}
        raise Invalid("Each rung of the ladder has to be another one.", errors=[told])
