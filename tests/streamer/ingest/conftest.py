from tests.streamer.site_under_test import site
from tests.streamer.stack import config, database_url, services

__all__ = ["config", "database_url", "services", "site"]
