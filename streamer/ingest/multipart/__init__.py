"""Uploads whose parts go straight to object storage, by signed URL: `api` is HTTP, `transfers` what it does."""
