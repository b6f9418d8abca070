from tests.streamer.ops.film_house import encoded, house
from tests.streamer.stack import config, database_url, migrated_mariadb, migrated_sqlite, services

__all__ = ["config", "database_url", "encoded", "house", "migrated_mariadb", "migrated_sqlite", "services"]
