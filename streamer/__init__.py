"""The server: accounts, jobs, the catalog, ingest and delivery over `storage` and `packager`."""
