"""What a process holds open: made once by the web app, a worker, the scheduler or a command, and closed at its end.

Endpoints find it at `request.app.state.services`. Nothing connects before it is used, so a process starts while its
servers are still coming up.
"""

from collections.abc import Callable
from dataclasses import dataclass

import redis
import redis.asyncio
from sqlalchemy import Engine

from storage import ObjectStore, UploadStore, in_parts, open_store
from storage.stored_uploads import StoredUploads
from storage.uploads import LocalUploads
from streamer import db, keyring, kv
from streamer.cache import Cache
from streamer.config import Config, ConfigError
from streamer.keyring import Secrets
from streamer.upload_ledger import SqlLedger


def _no_poster(path: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Services:
    """`kv` is for the event loop, `kv_sync` for threads. `poster_url(version_path)` is filled in by the composition root."""

    config: Config
    secrets: Secrets
    engine: Engine
    kv: redis.asyncio.Redis
    kv_sync: redis.Redis
    cache: Cache
    store: ObjectStore
    uploads: UploadStore
    poster_url: Callable[[str], str | None] = _no_poster


def make_data_folder(config: Config) -> None:
    """The data folder holds films, password hashes and keys: a new one is for its owner only. One that is there stays as it is."""
    config.data.dir.parent.mkdir(parents=True, exist_ok=True)
    config.data.dir.mkdir(mode=0o700, exist_ok=True)


def open_services(config: Config) -> Services:
    """Everything the configuration names; makes the data folder and the secrets when there are none."""
    make_data_folder(config)
    keys = (config.storage.access_key or None, config.storage.secret_key or None)
    engine = db.create(config.database, config.database_url)
    store = open_store(config.storage_url, access_key=keys[0], secret_key=keys[1])
    kv_sync = kv.open_sync(config.redis, config.redis_url)
    return Services(
        config=config,
        secrets=keyring.load(config),
        engine=engine,
        kv=kv.open_async(config.redis, config.redis_url),
        kv_sync=kv_sync,
        cache=Cache(config.cache, kv_sync),
        store=store,
        uploads=_uploads(config, engine, store),
    )


def _uploads(config: Config, engine: Engine, store: ObjectStore) -> UploadStore:
    if config.ingest.uploads == "local":
        return LocalUploads(config.uploads_dir, store)
    if (parts := in_parts(store)) is None:
        raise ConfigError(
            'ingest.uploads = "storage" needs S3: set storage.url to s3://…, or leave uploads on the disk.'
        )
    return StoredUploads(store, parts, SqlLedger(engine))


def close_services(services: Services) -> None:
    """Close what blocks; the event loop's Redis client is closed by the loop (`await services.kv.aclose()`)."""
    services.kv_sync.close()
    services.engine.dispose()
