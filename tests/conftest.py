"""What every test may ask for. The servers are real; see tests/servers.py."""

from tests.servers import (
    chromium,
    ffmpeg,
    mariadb,
    mariadb_url,
    nginx,
    redis_url,
    s3_url,
    sample_film,
    seaweedfs,
    valkey,
)

__all__ = [
    "chromium",
    "ffmpeg",
    "mariadb",
    "mariadb_url",
    "nginx",
    "redis_url",
    "s3_url",
    "sample_film",
    "seaweedfs",
    "valkey",
]
