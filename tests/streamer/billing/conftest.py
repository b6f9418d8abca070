from tests.streamer.site_under_test import site
from tests.streamer.stack import config, database_url, migrated_mariadb, migrated_sqlite, services

__all__ = ["config", "database_url", "migrated_mariadb", "migrated_sqlite", "services", "site"]
