"""Resumable uploads by tus 1.0: `protocol` reads headers, `api` is HTTP, `transfers` bytes, `rows` the database, `films` what they become."""
