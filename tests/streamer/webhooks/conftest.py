from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.config import Config
from tests.streamer.site_under_test import site
from tests.streamer.stack import database_url, make_config, migrated_mariadb, migrated_sqlite, services
from tests.streamer.webhooks.receiver import Receiver

__all__ = ["database_url", "migrated_mariadb", "migrated_sqlite", "services", "site"]


@pytest.fixture
def config(tmp_path: Path, database_url: str, redis_url: str) -> Config:
    """Impatient, and allowed to send to this machine."""
    weak = {"argon2_time": 1, "argon2_memory_kib": 64, "argon2_lanes": 1}
    return make_config(
        tmp_path,
        database=database_url,
        redis=redis_url,
        accounts=weak,
        webhooks={"timeout_s": 1.0, "retry_s": (0.05, 0.1), "disable_after_s": 60},
        outbound={"allow_http": True, "allow_private": True},
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one
