"""Where bytes live: one small contract (`base`), three backends, and `open_store` to choose one by URL."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from storage.base import (
    KeyRefused,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    OffsetMismatch,
    PartsChanged,
    PartStore,
    StorageDown,
    StorageError,
    StorageFull,
    UploadBusy,
    UploadStore,
)

__all__ = [
    "KeyRefused",
    "ObjectExists",
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "OffsetMismatch",
    "PartStore",
    "PartsChanged",
    "StorageDown",
    "StorageError",
    "StorageFull",
    "UploadBusy",
    "UploadStore",
    "in_parts",
    "open_store",
]


def open_store(url: str, *, access_key: str | None = None, secret_key: str | None = None) -> ObjectStore:
    """The store that a URL names: `file:///folder` or a plain path, `s3://bucket/prefix?endpoint=…&region=…`, `memory:`.

    S3 credentials come from the arguments or, without them, from where AWS tools look (environment, profile, role).
    Only the chosen backend is imported: boto3 costs a third of a second and 30 MB.
    """
    scheme = url.partition(":")[0] if ":" in url else ""
    if scheme == "memory":
        from storage.memory import MemoryStore

        return MemoryStore()
    if scheme == "s3":
        return _open_s3(url, access_key, secret_key)
    if scheme == "file":
        return _open_folder(Path(unquote(urlsplit(url).path)))
    if "://" in url:
        raise ValueError(f"no storage for {scheme}:// URLs; use a folder, file://, s3:// or memory:")
    return _open_folder(Path(url))


def in_parts(store: ObjectStore) -> PartStore | None:
    """The same store for objects that come in parts; None when it can't (only S3 can)."""
    made: Callable[[], PartStore] | None = getattr(store, "in_parts", None)
    return made() if made else None


def _open_folder(root: Path) -> ObjectStore:
    from storage.local import LocalStore

    return LocalStore(root)


def _open_s3(url: str, access_key: str | None, secret_key: str | None) -> ObjectStore:
    from storage.s3 import S3Store

    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    if unknown := query.keys() - {"endpoint", "region"}:
        raise ValueError(f"unknown in an s3:// URL: {', '.join(sorted(unknown))}")
    return S3Store(
        parts.netloc,
        parts.path.strip("/"),
        endpoint=query.get("endpoint"),
        region=query.get("region"),
        access_key=access_key,
        secret_key=secret_key,
    )
