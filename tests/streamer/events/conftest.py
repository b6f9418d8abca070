from tests.streamer.stack import config, database_url, services

__all__ = ["config", "database_url", "services"]
