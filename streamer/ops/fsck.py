"""`streamer fsck`: do database, jobs, storage, playlists and hashes tell one story? Finds what differs and mends what can be mended without a loss.

It may run beside a working server: what is under way is left alone, by the job that is open for it or by its age. Nothing that a row or a playlist
names is ever removed; what is lost is made again from the source, as long as that is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import ObjectMissing
from storage.stored_uploads import INCOMING
from streamer import db, ids
from streamer.catalog import assets, history, versions
from streamer.catalog.tables import Asset, Processing, Version
from streamer.ingest.tables import Upload, UploadState
from streamer.jobs import jobs, queues
from streamer.ops import packages
from streamer.services import Services

PAGE = 200
SETTLED_S = 3600.0
UNDER_WAY = (Processing.QUEUED, Processing.PROBING, Processing.ENCODING, Processing.PACKAGING)


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind` is stable and meant for machines, `subject` an id or a storage key; `mend` says what to do about it, `repair` does it."""

    kind: str
    subject: str
    detail: str
    mend: str = ""
    repair: Callable[[], object] | None = None


def check(
    services: Services,
    *,
    hashes: bool = True,
    settled_s: float = SETTLED_S,
    progress: Callable[[str], None] = lambda where: None,
) -> Iterator[Difference]:
    """Everything that differs, found while it goes. With `hashes` every published byte is read. Objects younger than `settled_s` are not orphans."""
    for asset in _assets(services):
        progress(f"film {asset.id}")
        if asset.deleted_at is None:
            yield from _film(services, asset.id, hashes)
        elif asset.purged_at is None and not _open(services, [asset.id]):
            yield Difference(
                "not_removed", asset.id, "The film is deleted and no job removes its files.", *_removal(services, asset)
            )
    yield from _uploads(services)
    yield from _strangers(services, settled_s, progress)


def _assets(services: Services) -> Iterator[Asset]:
    """All of them, a page at a time."""
    last = ""
    while True:
        with db.reading(services) as s:
            page = s.scalars(select(Asset).where(Asset.id > last).order_by(Asset.id).limit(PAGE)).all()
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1].id


def _film(services: Services, asset_id: str, hashes: bool) -> Iterator[Difference]:
    """What the film's rows say now: minutes may have passed since they were listed."""
    with db.reading(services) as s:
        asset = s.get_one(Asset, asset_id)
        made = s.scalars(select(Version).where(Version.asset_id == asset.id).order_by(Version.id)).all()
    if asset.deleted_at:
        return
    by_id = {version.id: version for version in made}
    live = by_id.get(asset.live_version_id or "")
    if asset.live_version_id and (live is None or not live.playable):
        yield Difference(
            "dead_pointer", asset.id, f"The film points at {asset.live_version_id}, which does not play.",
            "it will point at its newest version that plays, or at none", lambda: db.retrying(services, lambda s: _point(s, asset.id)),
        )  # fmt: skip
    sources: dict[str, list[Difference]] = {}
    for version in made:
        yield from _version(services, version.id, hashes, sources)


def _point(s: Session, asset_id: str) -> None:
    s.get_one(Asset, asset_id, with_for_update=True).live_version_id = versions.newest_playing(s, asset_id)


def _version(
    services: Services, version_id: str, hashes: bool, sources: dict[str, list[Difference]]
) -> Iterator[Difference]:
    """`sources` are those of the film that were looked at: versions share them."""
    if _open(services, [version_id]):
        return  # its job is at work, and finds out for itself
    with db.reading(
        services
    ) as s:  # after the job was looked for: one that has just ended has told its version in the same transaction
        version = s.get_one(Version, version_id)
    if version.deleted_at is not None:
        if version.purged_at is None:
            yield Difference(
                "not_removed", version.id, "The version is deleted and no job removes its files.", *_remains(services, version)
            )  # fmt: skip
    elif version.processing in UNDER_WAY:
        yield Difference(
            "no_job", version.id, f"It is {version.processing}, and no job makes it.", *_again(services, version, [])
        )
    elif version.processing == Processing.READY:
        if version.source_key not in sources:
            sources[version.source_key] = _source(services, version, hashes)
            yield from sources[version.source_key]
        yield from _package(services, version, hashes, whole=not sources[version.source_key])


def _source(services: Services, version: Version, hashes: bool) -> list[Difference]:
    """The upload that it was made from; nothing can bring that back."""
    key = version.source_key
    try:
        size = services.store.head(key).size
    except ObjectMissing:
        return [Difference("source_missing", key, f"The upload that {version.id} was made from is gone.")]
    if size != version.source_size or (hashes and packages.sha256(services.store, key) != version.source_sha256):
        return [Difference("source_changed", key, f"The upload that {version.id} was made from is not what arrived.")]
    return []


def _package(services: Services, version: Version, hashes: bool, *, whole: bool) -> Iterator[Difference]:
    if version.path is None:
        yield Difference(
            "no_path", version.id, "It is ready, and no folder is known for it.", *_again(services, version, [])
        )
        return
    found = list(packages.faults(services.store, version.path, hashes=hashes))
    broken = [fault for fault in found if fault.kind != "unnamed"]
    remake = _again(services, version, [fault.index for fault in broken if fault.index]) if whole else ("", None)
    for fault in broken:
        yield Difference(f"object_{fault.kind}", fault.key, fault.detail, *remake)
        remake = (remake[0], None)  # once mends all of them
    if not broken:  # else what lacks may be what names them
        yield from (_orphan(services, fault.key, fault.detail) for fault in found)


def _again(services: Services, version: Version, indexes: Sequence[str]) -> tuple[str, Callable[[], object]]:
    """Forget the broken chunks and encode: what is whole stays as it is."""

    def repair() -> None:
        for index in indexes:
            services.store.delete(index)
        tries = services.config.jobs.max_attempts
        job = db.retrying(services, lambda s: jobs.enqueue(s, "transcode", version.id, max_attempts=tries))
        queues.dispatch(services, [job])

    return "a job will make what is lacking from the upload", repair


def _removal(services: Services, asset: Asset) -> tuple[str, Callable[[], object]]:
    def repair() -> None:
        queues.dispatch(services, [db.retrying(services, lambda s: assets.enqueue_removal(s, asset))])

    return "a job will remove them", repair


def _remains(services: Services, version: Version) -> tuple[str, Callable[[], object]]:
    def repair() -> None:
        queues.dispatch(services, [db.retrying(services, lambda s: history.enqueue_removal(s, version))])

    return "a job will remove them", repair


def _orphan(services: Services, key: str, detail: str) -> Difference:
    return Difference("orphan", key, detail, "it will be removed", lambda: services.store.delete(key))


def _open(services: Services, subjects: Sequence[str]) -> bool:
    with db.reading(services) as s:
        return bool(jobs.unfinished_of(s, subjects))


def _uploads(services: Services) -> Iterator[Difference]:
    """What was acknowledged as received is a version's source."""
    told = select(Upload.id, Upload.source_key).where(
        Upload.state == UploadState.RECEIVED, Upload.asset_id.is_not(None)
    )
    with db.reading(services) as s:
        lost = s.execute(told.where(Upload.source_key.not_in(select(Version.source_key)))).all()
    for upload_id, key in lost:
        yield Difference("upload_without_film", upload_id, f"It was received as {key}, and no film has that source.")


def _strangers(services: Services, settled_s: float, progress: Callable[[str], None]) -> Iterator[Difference]:
    """Objects that no row knows of, in one walk through the storage, which lists by key."""
    border = db.now().timestamp() - settled_s
    for folder, group in groupby(services.store.list(""), key=lambda info: "/".join(info.key.split("/")[:2])):
        progress(f"folder {folder}")
        old = [info.key for info in group if info.modified.timestamp() <= border]
        asset_id = folder.removeprefix("sources/").split("/")[0]
        if folder.startswith(f"{INCOMING}/"):
            with db.reading(services) as s:
                growing = _is_growing(s, folder.removeprefix(f"{INCOMING}/"))
            yield from (_orphan(services, key, "Its upload is over.") for key in old if not growing)
        elif not ids.is_id(asset_id):
            yield from (Difference("stranger", key, "This is no object of ours; it is left alone.") for key in old)
        elif old:
            with db.reading(services) as s:
                known = _sources(s, asset_id) if folder.startswith("sources/") else _folders(s, asset_id, folder, old)
            yield from (_orphan(services, key, "No film and no upload knows of it.") for key in old if key not in known)


def _is_growing(s: Session, upload_id: str) -> bool:
    upload = s.get(Upload, upload_id) if ids.is_id(upload_id) else None
    return upload is not None and upload.state == UploadState.RECEIVING


def _sources(s: Session, asset_id: str) -> set[str]:
    """Keys of uploads that are a version's, on their way in or held back."""
    arriving = select(Upload.source_key).where(
        Upload.state.in_((UploadState.RECEIVING, UploadState.HELD)),
        Upload.source_key.startswith(f"sources/{asset_id}/", autoescape=True),
    )
    kept = select(Version.source_key).where(Version.asset_id == asset_id, Version.purged_at.is_(None))
    return {*s.scalars(kept), *s.scalars(arriving)}


def _folders(s: Session, asset_id: str, folder: str, keys: list[str]) -> set[str]:
    """All of the keys, if the folder is a version's or may be that of one which is not ready; a film that is being deleted keeps its own job."""
    asset = s.get(Asset, asset_id)
    if asset is None or asset.purged_at is not None:
        return set()
    there = Version.asset_id == asset_id, Version.purged_at.is_(None)
    made = s.execute(select(Version.path, Version.processing).where(*there)).all()
    ours = asset.deleted_at or any(path == folder or state != Processing.READY for path, state in made)
    return set(keys) if ours else set()
