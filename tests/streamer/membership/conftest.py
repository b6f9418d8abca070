"""A running server with three people in it, on each database, and a way to have its letters written and read."""

from tests.streamer.accounts.conftest import config, site
from tests.streamer.stack import database_url, migrated_mariadb, migrated_sqlite

__all__ = ["config", "database_url", "migrated_mariadb", "migrated_sqlite", "site"]
