"""What a client says it will send, and all that can be refused before a byte of it is read."""

import shutil
from dataclasses import dataclass

from streamer import db
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog import assets, names
from streamer.catalog.tables import Policy
from streamer.config import Ingest
from streamer.errors import Invalid, StorageExhausted, TooLarge, unfit
from streamer.ingest.tables import OnDuplicate
from streamer.services import Services


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client said it will send; `size` in bytes, None when it did not say. Names are clean already.

    `asset_id` is the film that the file is for; title and policy are those of a new one and mean nothing then."""

    filename: str
    title: str
    policy: Policy
    size: int | None
    on_duplicate: OnDuplicate = OnDuplicate.KEEP
    asset_id: str | None = None


def of(
    filename: str,
    title: str | None,
    policy: Policy,
    size: int | None,
    settings: Ingest,
    on_duplicate: OnDuplicate = OnDuplicate.KEEP,
    *,
    asset_id: str | None = None,
) -> Wanted:
    """Check what can be checked before a byte is read."""
    if size is not None:
        check_size(size, settings)
    name = names.file_name(filename) or "upload"
    return Wanted(name, names.title(title) if title else names.title_of(name), policy, size, on_duplicate, asset_id)


def check_target(services: Services, who: Principal, asset_id: str | None) -> None:
    """Refuse a file for a film that this principal may not change; none named is fine. Blocks."""
    if asset_id is not None:
        with db.reading(services) as s:
            assets.permitted(s, asset_id, who, Permission.ASSETS_WRITE)


def check_size(size: int, settings: Ingest) -> None:
    """Refuse what is empty or too large."""
    if size == 0:
        raise empty()
    if size > settings.max_upload_bytes:
        raise too_large(settings)


def policy(text: str) -> Policy:
    """Who may watch, as the client says it."""
    try:
        return Policy(text)
    except ValueError:
        raise unfit("policy", "must be private or public", text) from None


def check_room(services: Services, size: int, *, grows_here: bool = True) -> None:
    """Whether there is room on this disk for a file that `grows_here` as an upload or goes straight into a store that is here."""
    if grows_here and services.config.ingest.uploads == "storage":
        return
    copies = grows_here or services.config.storage_url.startswith("file:")
    free = shutil.disk_usage(services.config.data.dir).free
    if free - copies * size < services.config.ingest.min_free_bytes:
        raise StorageExhausted(
            f"The server has {free >> 20} MiB left, which is not enough for this file. Ask its operator to make room."
        )


def empty() -> Invalid:
    """The refusal of a file without a byte."""
    return Invalid("The file is empty. Choose the film itself and send it again.", code="empty_file")


def too_large(settings: Ingest) -> TooLarge:
    """The refusal of more than this server takes."""
    return TooLarge(
        f"The file is larger than the {settings.max_upload_bytes:,} bytes this server takes.", code="file_too_large"
    )
