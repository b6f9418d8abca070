"""Work that outlives a request: rows and leases in SQL, one-shot ids over RQ, progress in Redis."""
