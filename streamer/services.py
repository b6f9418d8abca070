"""What a process holds open: made once by the web app, a worker, the scheduler or a command, and closed at its end.

Endpoints find it at `request.app.state.services`. Nothing connects before it is used, so a process starts while its
servers are still coming up.
"""

from collections.abc import Callable
from dataclasses import dataclass

import redis
import redis.asyncio
from sqlalchemy import Engine

from storage import ObjectStore, UploadStore, open_store
from storage.uploads import LocalUploads
from streamer import db, keyring, kv
from streamer.config import Config
from streamer.keyring import Secrets


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
    return Services(
        config=config,
        secrets=keyring.load(config),
        engine=db.create(config.database, config.database_url),
        kv=kv.open_async(config.redis, config.redis_url),
        kv_sync=kv.open_sync(config.redis, config.redis_url),
        store=open_store(config.storage_url, access_key=keys[0], secret_key=keys[1]),
        uploads=LocalUploads(config.uploads_dir),
    )


def close_services(services: Services) -> None:
    """Close what blocks; the event loop's Redis client is closed by the loop (`await services.kv.aclose()`)."""
    services.kv_sync.close()
    services.engine.dispose()
