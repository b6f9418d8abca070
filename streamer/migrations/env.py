"""Alembic's entry: runs on the connection that `streamer.migrations` opened and locked."""

from alembic import context
from sqlalchemy import Connection

import streamer.accounts.tables
import streamer.billing.tables
import streamer.catalog.collection_tables
import streamer.catalog.tables
import streamer.delivery.tables
import streamer.events.tables
import streamer.ingest.tables
import streamer.jobs.tables
import streamer.membership.tables
import streamer.upload_ledger
import streamer.webhooks.tables  # noqa: F401  # imported so that Base.metadata is whole
from streamer.db import Base

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata)
context.run_migrations()
